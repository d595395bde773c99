"""Accounts over Tinker's wire: usage by the hour, what is stored now, the audit. Nothing costs anything here, so rates
and costs are left out and storage is free.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from fastapi import APIRouter, Depends, Query, Request

from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.tinker.legacy import is_older
from anubhav.http.tinker.training import house_of
from anubhav.training.accounts import GIGABYTE, HOUR, AuditRow, Shelf, Used
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1", dependencies=[Depends(needs("read", "train"))])
_RESOURCES = {
    "all": "",
    "checkpoints": "checkpoint_",
    "projects": "project_",
    "teams": "team_",
    "organizations": "organization_",
}


@router.get("/billing/usage/events")
async def usage_events(
    starting_on: datetime,
    ending_before: datetime,
    request: Request,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any]:
    bill = await house.desk.accounts.bill(who.tenant, _seconds(starting_on), _seconds(ending_before))
    sessions = {session: {"user_metadata": metadata or None} for session, metadata in bill.metadata.items()}
    strict = is_older(request, 0, 36)
    return {"data": [_event(used, who, strict=strict) for used in bill.used], "sessions": sessions}


@router.get("/billing/usage/checkpoints/current")
async def stored_now(
    project_id: str | None = None, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    return {"data": [_shelf(one, who) for one in await house.desk.accounts.shelves(who.tenant, project_id)]}


@router.get("/audit")
async def audit(
    event_type: Literal["all", "checkpoints", "projects", "teams", "organizations"] = "all",
    day: date | None = Query(default=None),
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any]:
    start = datetime.combine(day or datetime.now(UTC).date(), datetime.min.time(), UTC)
    span = (start.timestamp(), start.timestamp() + timedelta(days=1).total_seconds())
    found = await house.desk.accounts.audit(who.tenant, _RESOURCES[event_type], *span)
    return {"entries": [_entry(row, who) for row in found]}


def _event(used: Used, who: Principal, *, strict: bool) -> dict[str, Any]:
    """`strict` SDKs refuse a storage event that says it is free."""
    match used.kind:
        case "storage":
            info: dict[str, Any] = {"gigabyte_hours": used.quantity} | ({} if strict else {"free": True})
        case "checkpoint":
            info = {"count": int(used.quantity)}
        case _:
            info = {"token_count": int(used.quantity)}
    return {
        "bucket_start": _time(used.hour),
        "bucket_end": _time(used.hour + HOUR),
        "base_model": used.base_model,
        "user_id": who.tenant,
        "session_id": used.session,
        "project_id": used.project,
        "event_info": {"type": used.kind} | info,
    }


def _shelf(shelf: Shelf, who: Principal) -> dict[str, Any]:
    return {
        "project_id": shelf.project,
        "org_user_urn": who.tenant,
        "checkpoint_count": shelf.checkpoints,
        "size_bytes": shelf.size_bytes,
        "size_gigabytes": shelf.size_bytes / GIGABYTE,
    }


def _entry(row: AuditRow, who: Principal) -> dict[str, Any]:
    about = {name: row.details[name] for name in ("model_id", "tinker_path") if name in row.details}
    return {
        "timestamp": _time(row.at),
        "event": row.event,
        "event_details": row.details | {"user": row.details.get("by", who.tenant)},
        **about,
    }


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
