"""Training runs: those of the tenants' scripts and those of laps, and what each operation measured."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.http.console.page import Page, show
from anubhav.http.entrance import house_of
from anubhav.types.ids import RunId

router = APIRouter(route_class=Page)
_SHOWN = 25
_OPERATIONS = 200


@router.get("/training_runs")
async def list_runs(before: Annotated[int | None, Query(ge=1)] = None, house: House = Depends(house_of)) -> Response:
    found = await house.runs.page(None, before, _SHOWN)
    older = found[-1].position if len(found) == _SHOWN else None
    return await show(house, "runs.html", "/training_runs", found=found, older=older, before=before)


@router.get("/training_runs/{run}")
async def run(run: str, house: House = Depends(house_of)) -> Response:
    found = await house.runs.find(None, run)
    measured = await house.runs.measured(run, None, _OPERATIONS)
    names = sorted({name for one in measured for name in one.metrics})
    checkpoints = await house.desk.checkpoints.list(found.tenant, RunId(run))
    return await show(
        house, "run.html", "/training_runs", run=found, measured=measured[::-1], names=names, checkpoints=checkpoints
    )
