"""Routes of what can be spoken with: models and their licences, checkpoints, where each comes from, and its files.

They are the key's own tenant's; the operator's key reaches everybody's, those of laps among them.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from anubhav.flows.house import House
from anubhav.flows.stock import take_stock
from anubhav.http.anubhav import bodies
from anubhav.http.anubhav.routes import house_of, operator
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.training.export import tar_gz
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.looking import CheckpointHead, Line
from anubhav.types.models import Principal

router = APIRouter()
Json = dict[str, Any]
_ONE = "/v1/checkpoints/{run}/{kind}/{name}"
_LOOKS, _CHANGES = [Depends(needs("read", "train"))], [Depends(needs("train"))]


@router.get("/v1/library", dependencies=[Depends(operator)])
async def list_library(house: House = Depends(house_of)) -> Json:
    """Models served, here, or to be fetched: licence, size, and whether this machine's memory holds them."""
    rows, memory = await take_stock(house)
    return {"data": msgspec.to_builtins(rows), "memory_bytes": memory}


@router.get("/v1/checkpoints", dependencies=_LOOKS)
async def list_checkpoints(
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[int | None, Query(ge=1, le=1 << 62)] = None,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """Saved last first; `next`, sent as `before`, gives those that are older."""
    found = await house.pedigree.page(_reach(who), before, limit)
    return {"data": [_head(one) for one in found], "next": found[-1].position if len(found) == limit else None}


async def one_checkpoint(
    run: str, kind: str, name: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Checkpoint:
    return await house.desk.checkpoints.find(_reach(who), f"tinker://{run}/{kind}/{name}")


@router.get(_ONE, dependencies=_LOOKS)
async def get_checkpoint(
    one: Checkpoint = Depends(one_checkpoint), house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    """With the runs it belongs to: its own, those it came from and those that came from it."""
    lines = await house.pedigree.lines(_reach(who), str(one.path))
    return _json(one) | {"lines": [_line(line) for line in lines]}


@router.get(f"{_ONE}/archive", response_class=Response, responses=tells("application/gzip"), dependencies=_LOOKS)
async def get_archive(one: Checkpoint = Depends(one_checkpoint), house: House = Depends(house_of)) -> Response:
    """Its files as a tar.gz: PEFT's adapter_config.json and adapter_model.safetensors."""
    folder, names = await house.desk.checkpoints.files(one)
    told = {"content-disposition": f'attachment; filename="{one.path.name}.tar.gz"'}
    return StreamingResponse(tar_gz(folder, names), media_type="application/gzip", headers=told)


@router.patch(_ONE, dependencies=_CHANGES)
async def change_checkpoint(
    body: bodies.CheckpointChange,
    one: Checkpoint = Depends(one_checkpoint),
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """How long it stays, counted from now (null: for ever), and whether every tenant may read it."""
    owner, path = _owner(who, one), str(one.path)
    if "ttl_seconds" in body.model_fields_set:
        await house.desk.checkpoints.set_ttl(owner, path, body.ttl_seconds)
    if body.public is not None:
        await house.desk.checkpoints.share(owner, path, public=body.public)
    return _json(await house.desk.checkpoints.find(owner, path))


@router.delete(_ONE, dependencies=_CHANGES)
async def delete_checkpoint(
    one: Checkpoint = Depends(one_checkpoint), house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    """Not while an alias answers with it."""
    await house.desk.checkpoints.delete(_owner(who, one), str(one.path))
    return {"path": str(one.path), "deleted": True}


def _reach(who: Principal) -> str | None:
    return None if who.operator else who.tenant


def _owner(who: Principal, one: Checkpoint) -> str:
    return one.tenant if who.operator else who.tenant


def _head(head: CheckpointHead) -> Json:
    return _json(head.checkpoint) | {"source": head.source, "aliases": list(head.aliases)}


def _line(line: Line) -> Json:
    saved = [str(one.path) for one in line.checkpoints]
    return {"run": line.run, "source": line.source, "depth": line.depth, "checkpoints": saved}


def _json(one: Checkpoint) -> Json:
    return {
        "path": str(one.path),
        "tenant": one.tenant,
        "base_model": one.base_model,
        "rank": one.spec.rank,
        "optimizer": one.has_optimizer,
        "size_bytes": one.size_bytes,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "public": one.public,
    }
