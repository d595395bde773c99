"""Training runs: those of the tenants' scripts and those of laps, what each operation measured, and several at once."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.http.console.page import Page, show
from anubhav.http.entrance import house_of
from anubhav.types.ids import RunId
from anubhav.types.looking import Measured

router = APIRouter(route_class=Page)
_SHOWN = 25
_OPERATIONS = 200
_EVENTS = 50
_COMPARED = 6


@router.get("/training_runs")
async def list_runs(before: Annotated[int | None, Query(ge=1)] = None, house: House = Depends(house_of)) -> Response:
    found = await house.runs.page(None, before, _SHOWN)
    older = found[-1].position if len(found) == _SHOWN else None
    return await show(
        house, "runs.html", "/training_runs", found=found, older=older, before=before, queue=house.desk.queue
    )


@router.get("/training_runs/compare")
async def compare(
    run: Annotated[list[str], Query(min_length=1, max_length=_COMPARED)], house: House = Depends(house_of)
) -> Response:
    """Beside each other, in the order asked for."""
    names = list(dict.fromkeys(run))
    heads = [await house.runs.find(None, name) for name in names]
    ends = [_ends(await house.runs.measured(name, None, _OPERATIONS)) for name in names]
    return await show(
        house,
        "compare.html",
        "/training_runs",
        runs=heads,
        ends=ends,
        names=sorted({name for one in ends for name in one}),
    )


@router.get("/training_runs/{run}")
async def run(run: str, house: House = Depends(house_of)) -> Response:
    found = await house.runs.find(None, run)
    measured = await house.runs.measured(run, None, _OPERATIONS)
    checkpoints = await house.desk.checkpoints.list(found.tenant, RunId(run))
    earlier = await house.runs.page(None, found.position, 1)
    return await show(
        house, "run.html", "/training_runs", run=found, measured=measured[::-1], names=sorted(_ends(measured)),
        checkpoints=checkpoints, events=await house.runs.events(run, _EVENTS), queue=house.desk.next_of(RunId(run)),
        earlier=earlier[0] if earlier else None,
    )  # fmt: skip


def _ends(measured: list[Measured]) -> dict[str, dict[str, Any]]:
    """By metric: the first and the last of the values looked at."""
    found: dict[str, dict[str, Any]] = {}
    for one in measured:
        for name, value in one.metrics.items():
            if name != "step":
                found[name] = {"first": found.get(name, {"first": value})["first"], "last": value}
    return found
