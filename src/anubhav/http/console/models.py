"""Models and checkpoints: what may be done with each, whether this machine holds it, and what came from what."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.flows.stock import Stock, take_stock
from anubhav.http.auth import principal
from anubhav.http.console.language import gettext
from anubhav.http.console.page import Page, show
from anubhav.http.console.words import size
from anubhav.http.entrance import house_of
from anubhav.training.exports import Export
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.looking import CheckpointHead, Line
from anubhav.types.models import Principal

router = APIRouter(route_class=Page)
Json = dict[str, Any]
_SHOWN = 25
_DOTS = 24
"""Checkpoints of a run that its lane shows: the newest."""
_WIDE, _HIGH, _EDGE = 30, 34, 16


@router.get("/models")
async def list_models(house: House = Depends(house_of)) -> Response:
    rows, memory = await take_stock(house)
    return await show(
        house, "models.html", "/models", rows=[_row(one) for one in rows], memory=f"{memory / 1e9:.0f} GB"
    )


@router.get("/checkpoints")
async def list_checkpoints(
    before: Annotated[int | None, Query(ge=1, le=1 << 62)] = None, house: House = Depends(house_of)
) -> Response:
    found = await house.pedigree.page(None, before, _SHOWN)
    older = found[-1].position if len(found) == _SHOWN else None
    rows = [_head(one) for one in found]
    return await show(house, "checkpoints.html", "/checkpoints", rows=rows, older=older, before=before)


@router.get("/checkpoints/{run}/{kind}/{name}")
async def checkpoint(
    run: str, kind: str, name: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Response:
    """As Tinker's SDK links to it."""
    found = await house.desk.checkpoints.find(None, f"tinker://{run}/{kind}/{name}")
    lines = await house.pedigree.lines(None, str(found.path))
    aliases = [alias for path, alias in await house.pedigree.answering() if path == str(found.path)]
    exports = house.exports.list(None, str(found.path))
    return await show(
        house, "checkpoint.html", "/checkpoints", one=_shown(found), spec=found.spec, own=found.tenant == who.tenant,
        aliases=aliases, lines=[_line(one) for one in lines], drawn=_drawn(lines, str(found.path)),
        exports=[_export(one) for one in exports], making=any(one.state in ("waiting", "running") for one in exports),
    )  # fmt: skip


def _row(one: Stock) -> Json:
    sizes = {"float32": 4, "bfloat16": 2, "no": 2}
    width = sizes[one.fits] if one.fits else 0
    return {
        "one": one,
        "size": f"{one.parameters / 1e6:,.0f} M" if one.parameters else "",
        "takes": f"{width * one.parameters / 1e9:.1f} GB" if one.parameters and width else "",
        "download": f"{one.download_bytes / 1e6:.0f} MB" if one.download_bytes else "",
    }


def _shown(one: Checkpoint) -> Json:
    path = one.path
    return {
        "path": str(path),
        "place": f"/{path.run}/{path.kind}/{path.name}",
        "name": path.name,
        "run": path.run,
        "kind": path.kind,
        "tenant": one.tenant,
        "base_model": one.base_model,
        "size": size(one.size_bytes),
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "public": one.public,
        "has_optimizer": one.has_optimizer,
    }


def _export(one: Export) -> Json:
    return {
        "id": one.id,
        "form": one.form,
        "state": one.state,
        "expected_bytes": one.expected_bytes,
        "written_bytes": one.written_bytes,
        "expected": size(one.expected_bytes),
        "written": size(one.written_bytes),
        "failure": one.failure,
        "expires_at": one.expires_at,
    }


def _head(head: CheckpointHead) -> Json:
    return _shown(head.checkpoint) | {"source": head.source, "aliases": head.aliases}


def _line(line: Line) -> Json:
    return {
        "run": line.run,
        "depth": min(line.depth, 6),
        "source": line.source,
        "source_name": (line.source or "").rpartition("/")[2],
        "checkpoints": [_shown(one) for one in line.checkpoints[-_DOTS:]],
        "left_out": max(0, len(line.checkpoints) - _DOTS),
    }


def _drawn(lines: Sequence[Line], path: str) -> Json:
    """A lane for each run, with a dot for each checkpoint, from left to right; a curve from what it began with."""
    places: dict[str, tuple[int, int]] = {}
    lanes: list[Json] = []
    for number, line in enumerate(lines):
        came = places.get(line.source or "")
        first = came[0] + _WIDE if came else _EDGE
        high = _EDGE + number * _HIGH
        dots = [_dot(one, first + at * _WIDE, high, path) for at, one in enumerate(line.checkpoints[-_DOTS:])]
        places |= {dot["path"]: (dot["x"], dot["y"]) for dot in dots}
        lanes.append({"y": high, "dots": dots, "came": came, "first": first, "last": dots[-1]["x"] if dots else first})
    wide = max((lane["last"] for lane in lanes), default=0) + _EDGE
    told = gettext("{runs} runs, {count} checkpoints", runs=len(lines), count=len(places))
    return {"lanes": lanes, "width": wide, "height": 2 * _EDGE + (len(lines) - 1) * _HIGH, "told": told}


def _dot(one: Checkpoint, x: int, y: int, path: str) -> Json:
    return {"path": str(one.path), "name": one.path.name, "x": x, "y": y, "here": str(one.path) == path}
