"""The caller's own key over Tinker's wire: exchanged for a token, described, revoked."""

import hashlib
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from anubhav.flows.keyring import Keyring
from anubhav.http.auth import credential, principal
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1/auth")


async def keyring_of(request: Request) -> Keyring:
    return request.app.state.keyring


@router.post("/token", dependencies=[Depends(principal)])
async def exchange(request: Request, keyring: Keyring = Depends(keyring_of)) -> dict[str, str]:
    return {"jwt": await keyring.exchange(credential(request.headers))}


@router.get("/apikey/me")
async def describe(keyring: Keyring = Depends(keyring_of), who: Principal = Depends(principal)) -> dict[str, Any]:
    """The SDK wants a number for an id; tenants have names here, but no addresses."""
    number = int.from_bytes(hashlib.sha256(who.key_id.encode()).digest()[:6])
    details = {"org_details": {"name": who.tenant}, "user_details": {"email": ""}}
    return {"key_id": number, "name": who.key_id, "note": await keyring.note(who), "details": details}


@router.delete("/apikey/me", status_code=204)
async def revoke(keyring: Keyring = Depends(keyring_of), who: Principal = Depends(principal)) -> Response:
    await keyring.revoke(who.key_id, who)
    return Response(status_code=204)
