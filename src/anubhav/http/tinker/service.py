"""Sessions over Tinker's wire, and what a client asks before it begins: flags and capabilities."""

from typing import Any

from fastapi import APIRouter, Depends, Header, Response

from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.tinker import bodies
from anubhav.http.tinker.training import house_of
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1")

CLIENT_CONFIG = {
    # MinT's `sk-` keys and `tinker auth whoami` need it: who somebody is, is read from the token.
    "pjwt_auth_enabled": True,
    # The SDK's Rust transport loses the answer to a body refused half-way, which httpx keeps.
    "use_pyqwest_transport": False,
    # Packing and unpacking 6 MB takes 45 ms, sending them over loopback 2. Packed passes are read all the same.
    "proto_compress_fwdbwd": False,
    # One pass instead of two; what cannot be computed here is refused by name when the loss is created.
    "custom_loss_server_side": True,
    # Copies of a sampling client in other processes get numbers of their own, so their samples never collide.
    "sample_join_sampling_session": True,
}


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.post("/client/config", dependencies=[Depends(principal)])
async def client_config() -> dict[str, Any]:
    return CLIENT_CONFIG


@router.post("/client/dynamic_config", dependencies=[Depends(principal)])
async def dynamic_config() -> dict[str, Any]:
    return {"refresh_interval_sec": 300, "sample_cancel_enabled": True, "sample_cancel_max_batch_size": 64}


@router.get("/get_server_capabilities", dependencies=[Depends(principal)])
async def capabilities(house: House = Depends(house_of)) -> dict[str, Any]:
    models = [
        {
            "model_name": name,
            "max_context_length": model.context_length,
            "trainable": True,
            "sampleable": True,
        }
        for name, model in house.models.items()
    ]
    return {"supported_models": models}


@router.post("/create_session", dependencies=[Depends(needs("train", "sample"))])
async def create_session(
    body: bodies.CreateSession,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
    x_idempotency_key: str | None = Header(default=None, max_length=200),
) -> dict[str, Any]:
    session = await house.desk.open_session(
        who.tenant, body.tags, bodies.texts(body.user_metadata), body.sdk_version, x_idempotency_key
    )
    if body.project_id or body.display_name:
        await house.desk.sessions.describe(who.tenant, session, body.project_id, body.display_name)
    return {"type": "create_session", "session_id": session}


@router.post("/session_heartbeat", dependencies=[Depends(principal)])
async def heartbeat(body: bodies.Heartbeat) -> dict[str, Any]:
    """Sessions do not expire here, so there is nothing to keep alive."""
    return {"type": "session_heartbeat"}


@router.post("/telemetry", dependencies=[Depends(principal)])
async def telemetry() -> dict[str, str]:
    """Accepted and dropped: it may hold headers with keys in them."""
    return {"status": "accepted"}


@router.post("/sessions/{session}/finish", status_code=204, dependencies=[Depends(needs("train", "sample"))])
async def finish(
    session: str, body: bodies.Finish, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Response:
    await house.desk.finish_session(who.tenant, session, body.reason.type, body.detail)
    return Response(status_code=204)
