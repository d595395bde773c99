"""Plans: one is made at a time, what cannot be planned says why, and only so many wait and are kept."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from anubhav.errors import BadInput, Busy, NotFound
from anubhav.flows.plans import Plans


class Planner:
    """Says when it is at work, and is let go by hand."""

    def __init__(self) -> None:
        self.at_work = self.most = 0
        self.go = asyncio.Event()

    async def make(self, wishes: Mapping[str, Any]) -> Mapping[str, Any]:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            await self.go.wait()
        finally:
            self.at_work -= 1
        if wishes["model"] == "none":
            raise BadInput("There is no such model", hint="Name another.")
        return {"of": wishes["model"]}


async def settled(plans: Plans, *names: str) -> None:
    async with asyncio.timeout(5):
        while any(plans.find(name).state == "running" for name in names):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)


async def test_one_is_made_at_a_time_and_four_may_wait() -> None:
    planner = Planner()
    plans = Plans(planner.make, ["a"], ["h100"])
    asked = [plans.ask({"model": name}).id for name in ("a", "none", "c", "d")]
    with pytest.raises(Busy, match="Several plans"):
        plans.ask({"model": "e"})
    planner.go.set()
    await settled(plans, *asked)
    assert planner.most == 1
    assert [plans.find(name).plan for name in asked] == [{"of": "a"}, None, {"of": "c"}, {"of": "d"}]
    assert plans.find(asked[1]).failure == "There is no such model. Name another."


async def test_only_the_newest_are_kept() -> None:
    planner = Planner()
    planner.go.set()
    plans = Plans(planner.make, (), ())
    names: list[str] = []
    for number in range(24):
        names.append(plans.ask({"model": str(number)}).id)
        await settled(plans, names[-1])
    with pytest.raises(NotFound):
        plans.find(names[0])
    assert plans.find(names[-1]).plan == {"of": "23"}


async def test_what_is_under_way_ends_with_the_server() -> None:
    planner = Planner()
    plans = Plans(planner.make, (), ())
    plans.ask({"model": "a"})
    await asyncio.sleep(0.01)
    assert planner.at_work == 1
    await plans.stop()
    assert planner.at_work == 0
