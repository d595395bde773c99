"""How an alias releases, over HTTP: what is kept, what is refused, and who may ask."""

import asyncio
import time
from typing import Any

import pytest
from school import ask, teach

from anubhav.flows.chat import begin
from anubhav.flows.questions import Question
from anubhav.types.experience import Lap, Release

POLICY = "/v1/release-policies/default"


async def test_a_policy_is_kept_whole(front: Any) -> None:
    before = (await front.operator.get(POLICY)).json()
    assert before["policy"]["steps"] == []
    assert before["trial"] is None
    told = {"steps": [1, 5, 25, 100], "holdback": 5, "least_people": 20}
    after = (await front.operator.put(POLICY, json=told)).json()
    assert {name: after["policy"][name] for name in told} == told
    assert after["policy"]["since"] > 0
    assert (await front.operator.get(POLICY)).json() == after


@pytest.mark.parametrize(
    "told", [{"steps": [5, 1]}, {"steps": [0]}, {"holdback": 51}, {"shadow": 5}, {"margin": -1}, {"speed": 3}]
)
async def test_a_policy_that_makes_no_sense_changes_nothing(front: Any, told: dict[str, object]) -> None:
    before = (await front.operator.get(POLICY)).json()
    answer = await front.operator.put(POLICY, json=told)
    assert answer.status_code in (400, 422)
    assert (await front.operator.get(POLICY)).json() == before


async def test_a_trial_in_the_shadow_is_told_with_its_pairs(front: Any) -> None:
    house = front.house
    before = (await front.operator.get(POLICY)).json()["policy"]
    assert before["shadow"] == 20
    told = {**{name: value for name, value in before.items() if name != "since"}, "steps": [5, 100], "shadow": 6}
    assert (await front.operator.put(POLICY, json=told)).json()["policy"]["shadow"] == 6
    taught = await teach(house.desk, house.renderers["tiny"], "anubhav", "Who?", "Me.")
    passed = Release("rel_1", "default", str(taught.path), taught.adapter, "try", "ada", "passed", time.time(), "lap_1")
    await house.register.settle(passed, Lap("lap_1", "default", "done", "done", 0.0), "{}", None)
    now = (await front.operator.get(POLICY)).json()["trial"]
    assert (now["stage"], now["percent"], now["shadow"]) == ("shadow", 0, None)
    reply = await begin(house, "ann", Question("default", ask("Who?"), max_tokens=9, temperature=0.0))
    assert [piece async for piece in reply.pieces]
    for _ in range(1000):
        now = (await front.operator.get(POLICY)).json()["trial"]
        if now["shadow"]:
            break
        await asyncio.sleep(0.01)
    assert (now["stage"], now["shadow"]["replies"], now["shadow"]["failed"]) == ("shadow", 1, [0, 1])
    assert now["failures"] == {"canary": {"failed": 0, "replies": 0}, "stable": {"failed": 0, "replies": 1}}
    shown = (await front.user.get("/v1/episodes")).json()["data"]
    assert {one["arm"]: one["choices"][0]["text"] for one in shown} == {"stable": "", "shadow": "Me."}
    assert "(a candidate, unheard)" in (await front.operator.get("/")).text
    assert (await front.operator.post("/v1/rollback", json={"why": "test"})).json()["action"] == "discard"
    found = (await front.operator.get(POLICY)).json()
    assert (found["trial"], found["trials"][0]["state"], found["trials"][0]["stage"]) == (None, "rolled back", "shadow")


async def test_lift_says_why_there_is_none(front: Any) -> None:
    found = (await front.operator.get("/v1/lift/default")).json()
    assert found["overall"] is None
    assert "nobody is held back" in found["why"]


@pytest.mark.parametrize("place", [POLICY, "/v1/lift/default"])
async def test_only_the_operator_asks_and_only_about_aliases(front: Any, place: str) -> None:
    assert (await front.user.get(place)).status_code == 403
    assert (await front.nobody.get(place)).status_code == 401
    assert (await front.operator.get(place.replace("default", "tiny"))).status_code == 404


async def test_a_rollback_to_an_unknown_release_is_refused(front: Any) -> None:
    answer = await front.operator.post("/v1/rollback", json={"why": "test", "to": "rel_none"})
    assert answer.status_code == 400
