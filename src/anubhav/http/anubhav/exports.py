"""Routes of checkpoints in forms that others read: merged into their base, or as GGUF. That takes time and room, so it
is asked for, followed and then fetched. The form for PEFT needs no making: it is a checkpoint's archive.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Response
from fastapi.responses import FileResponse, StreamingResponse

from anubhav.flows.house import House
from anubhav.http.anubhav import bodies
from anubhav.http.anubhav.checkpoints import one_checkpoint
from anubhav.http.anubhav.routes import house_of
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.training.export import tar, tar_size
from anubhav.training.exports import Export
from anubhav.types.checkpoints import Checkpoint, parse_path
from anubhav.types.models import Principal

router = APIRouter()
Json = dict[str, Any]
_LOOKS, _CHANGES = [Depends(needs("read", "train"))], [Depends(needs("train"))]


@router.post("/v1/checkpoints/{run}/{kind}/{name}/exports", status_code=202, dependencies=_CHANGES)
async def ask_for_export(
    body: bodies.Export,
    one: Checkpoint = Depends(one_checkpoint),
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """Begin one, or find the one there is; they are made beside the server, one at a time. Merged: the operator's."""
    return _json(await house.exports.ask(who, one, body.form))


@router.get("/v1/exports", dependencies=_LOOKS)
async def list_exports(house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """The newest that are being made or kept."""
    return {"data": [_json(one) for one in house.exports.list(_reach(who))]}


@router.get("/v1/exports/{export}", dependencies=_LOOKS)
async def get_export(export: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """`state` says waiting, running, done or failed; `written_bytes` of about `expected_bytes` how far it is."""
    return _json(house.exports.find(_reach(who), export))


@router.get(
    "/v1/exports/{export}/file",
    response_class=Response,
    responses=tells("application/x-tar", "application/octet-stream"),
    dependencies=_LOOKS,
)
async def get_file(export: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Response:
    """A tar of the merged folder's files, or the GGUF file. It stays an hour from then on."""
    one, folder, names = house.exports.files(_reach(who), export)
    name = parse_path(one.path).name
    if one.form == "gguf":
        return FileResponse(folder / names[0], media_type="application/octet-stream", filename=f"{name}.gguf")
    return _packed(f"{name}-merged.tar", folder, names)


@router.delete("/v1/exports/{export}", dependencies=_CHANGES)
async def drop_export(export: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """Give it up, or remove what was made before its time."""
    await house.exports.drop(_reach(who), export)
    return {"id": export, "deleted": True}


def _reach(who: Principal) -> str | None:
    return None if who.operator else who.tenant


def _packed(name: str, folder: Path, names: Sequence[str]) -> Response:
    told = {"content-disposition": f'attachment; filename="{name}"', "content-length": str(tar_size(folder, names))}
    return StreamingResponse(tar(folder, names), media_type="application/x-tar", headers=told)


def _json(one: Export) -> Json:
    """With the address of its file, once there is one."""
    told: Json = msgspec.to_builtins(one)
    return told | {"file": f"/v1/exports/{one.id}/file" if one.state == "done" else None}
