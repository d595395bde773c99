"""Admin: keys and what their tenants may use and have used, health, settings, the audit."""

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.health import examine
from anubhav.flows.house import House
from anubhav.http.auth import Keyring
from anubhav.http.console.page import Page, show
from anubhav.http.console.words import date
from anubhav.http.entrance import house_of, keyring_of
from anubhav.training.accounts import Spent
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
    before: Before = None,
    house: House = Depends(house_of),
    keyring: Keyring = Depends(keyring_of),
) -> Response:
    """With `key_name`, as Tinker's SDK links to it, the form for a new key is filled."""
    rows = await keyring.keys(before, _LINES)
    tenants = sorted({one.tenant for one in rows} | {tenant})
    older = rows[-1].seq if len(rows) == _LINES else None
    used = await _used(house, keyring, tenant)
    return await show(
        house, "keys.html", "/admin", rows=rows, tenants=tenants, note=key_name, chosen=None, scopes=sorted(SCOPES),
        older=older, before=before, **used,
    )  # fmt: skip


@router.get("/keys/{key_id}")
async def key(key_id: str, house: House = Depends(house_of), keyring: Keyring = Depends(keyring_of)) -> Response:
    """As Tinker's SDK links to it."""
    found = await keyring.find(key_id)
    used = await _used(house, keyring, found.tenant)
    return await show(
        house, "keys.html", "/admin", rows=[found], tenants=[found.tenant], note="", chosen=key_id, scopes=[],
        older=None, before=None, **used,
    )  # fmt: skip


async def _used(house: House, keyring: Keyring, tenant: str) -> Json:
    quota, use = await keyring.quota(tenant)
    days = await house.desk.accounts.by_day(tenant, _DAYS)
    return {"tenant": tenant, "quota": quota, "use": use, "spent": [_spent(one) for one in days]}


def _setting(one: Setting) -> Json:
    """Several values, which may be pairs, in a row."""
    value = one.value
    if isinstance(value, tuple):
        several = cast(tuple[str | tuple[str, ...], ...], value)
        value = " ".join(part if isinstance(part, str) else "=".join(part) for part in several)
    return {"name": one.setting, "value": value, "origin": one.origin}


def _spent(one: Spent) -> Json:
    whole = one.what != "storage"
    return {
        "day": date(one.day),
        "what": one.what,
        "model": one.base_model or "",
        "quantity": f"{one.quantity:,.0f}" if whole else f"{one.quantity:,.3f}",
    }
