"""Admin: keys and what their tenants may use and have used, health, settings, the audit."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.health import examine
from anubhav.flows.house import House
from anubhav.flows.spending import Spent, spent
from anubhav.http.auth import Keyring
from anubhav.http.console.page import Page, show
from anubhav.http.console.words import date
from anubhav.http.entrance import house_of, keyring_of
from anubhav.types.health import Setting
from anubhav.types.models import SCOPES

router = APIRouter(route_class=Page)
Json = dict[str, Any]
_LINES, _DAYS = 50, 7
Before = Annotated[int | None, Query(ge=1, le=1 << 62)]
Word = Annotated[str, Query(max_length=200)]


@router.get("/admin")
async def admin(before: Before = None, house: House = Depends(house_of)) -> Response:
    log = await house.desk.accounts.log(None, before, _LINES)
    older = log[-1].seq if len(log) == _LINES else None
    settings = [_setting(one) for one in house.configuration]
    found = await examine(house)
    return await show(
        house, "admin.html", "/admin", found=found, settings=settings, log=log, older=older, before=before
    )


@router.get("/keys")
async def keys(
    key_name: Word = "",
    tenant: Word = "local",
    house: House = Depends(house_of),
    keyring: Keyring = Depends(keyring_of),
) -> Response:
    """With `key_name`, as Tinker's SDK links to it, the form for a new key is filled."""
    rows = sorted(await keyring.keys(), key=lambda one: one.revoked_at is not None)
    tenants = sorted({one.tenant for one in rows} | {tenant})
    quota, use = await keyring.quota(tenant)
    return await show(
        house, "keys.html", "/admin", rows=rows, tenants=tenants, tenant=tenant, quota=quota, use=use, note=key_name,
        chosen=None, scopes=sorted(SCOPES), spent=[_spent(one) for one in await spent(house, tenant, _DAYS)],
    )  # fmt: skip


@router.get("/keys/{key_id}")
async def key(key_id: str, house: House = Depends(house_of), keyring: Keyring = Depends(keyring_of)) -> Response:
    """As Tinker's SDK links to it."""
    rows = await keyring.keys()
    tenant = next((one.tenant for one in rows if one.id == key_id), "local")
    quota, use = await keyring.quota(tenant)
    return await show(
        house, "keys.html", "/admin", rows=[one for one in rows if one.id == key_id], tenants=[tenant], tenant=tenant,
        quota=quota, use=use, note="", chosen=key_id, scopes=sorted(SCOPES),
        spent=[_spent(one) for one in await spent(house, tenant, _DAYS)],
    )  # fmt: skip


def _setting(one: Setting) -> Json:
    value = one.value
    parts = [one if isinstance(one, str) else "=".join(one) for one in value] if isinstance(value, tuple) else None
    return {"name": one.setting, "value": " ".join(parts) if parts is not None else value, "origin": one.origin}


def _spent(one: Spent) -> Json:
    whole = one.what != "storage"
    return {
        "day": date(one.day),
        "what": one.what,
        "model": one.base_model,
        "quantity": f"{one.quantity:,.0f}" if whole else f"{one.quantity:,.3f}",
    }
