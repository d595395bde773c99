"""How an alias releases, over HTTP: what is kept, what is refused, and who may ask."""

from typing import Any

import pytest

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


@pytest.mark.parametrize("told", [{"steps": [5, 1]}, {"steps": [0]}, {"holdback": 51}, {"margin": -1}, {"speed": 3}])
async def test_a_policy_that_makes_no_sense_changes_nothing(front: Any, told: dict[str, object]) -> None:
    before = (await front.operator.get(POLICY)).json()
    answer = await front.operator.put(POLICY, json=told)
    assert answer.status_code in (400, 422)
    assert (await front.operator.get(POLICY)).json() == before


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
