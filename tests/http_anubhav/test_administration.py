"""Health, settings, usage, the audit and plans over HTTP, all the operator's."""

import asyncio
from typing import Any

from anubhav.training.client import RunClient
from anubhav.types.arrays import floats, ints
from anubhav.types.training import Datum, LoraSpec

WISHES = {"model": "smollm2-135m", "gpus": 1, "sequence": 128, "batch": 1}


async def test_the_machine_and_the_engines_are_examined(front: Any) -> None:
    found = (await front.operator.get("/v1/health")).json()
    assert found["ok"] is True
    checks = {one["check"]: one for one in found["data"]}
    assert {"python", "memory", "disk", "sqlite", "data folder"} <= set(checks)
    assert [one["state"] for name, one in checks.items() if name.startswith("engine ")] == ["ok"]


async def test_what_was_used_is_told_by_day_and_what_was_done_a_page_at_a_time(front: Any) -> None:
    client = await RunClient.start(front.house.desk, "ann", "tiny", LoraSpec(rank=4), tag="used")
    data = Datum((1, 2, 3), {"target_tokens": ints((2, 3, 4)), "weights": floats((1.0, 1.0, 1.0))})
    await client.forward_backward([data], "cross_entropy")
    paths = [str((await client.save(name, "sampler_weights")).path) for name in ("one", "two", "three")]
    used = (await front.operator.get("/v1/usage", params={"tenant": "ann", "days": 1})).json()["data"]
    assert {(one["what"], one["quantity"]) for one in used if one["what"] != "storage"} == {
        ("training", 3.0), ("checkpoint", 3.0),
    }  # fmt: skip
    assert (await front.operator.get("/v1/usage", params={"tenant": "local"})).json()["data"] == []
    first = (await front.operator.get("/v1/audit", params={"limit": 2})).json()
    assert [one["details"]["tinker_path"] for one in first["data"]] == paths[:0:-1]
    rest = (await front.operator.get("/v1/audit", params={"limit": 2, "before": first["next"]})).json()
    assert [(one["tenant"], one["event"]) for one in rest["data"]] == [("ann", "checkpoint_create")]
    assert rest["next"] is None
    assert (await front.operator.get("/v1/audit", params={"tenant": "local"})).json()["data"] == []


async def test_all_of_it_is_the_operators(front: Any) -> None:
    for path in ("/v1/health", "/v1/configuration", "/v1/usage", "/v1/audit", "/v1/plans/plan_x"):
        assert (await front.user.get(path)).status_code == 403, path
    assert (await front.user.post("/v1/plans", json=WISHES)).status_code == 403


async def test_a_plan_is_made_beside_the_server(front: Any) -> None:
    asked = (await front.operator.post("/v1/plans", json=WISHES)).json()
    assert asked["state"] == "running"
    made = await _made(front, asked["id"])
    assert made["plan"]["model"]["parameters"] == 134_515_008
    assert made["plan"]["layouts"]["fitting"] >= 1
    assert (await front.operator.get("/v1/plans/plan_none")).status_code == 404
    assert (await front.operator.post("/v1/plans", json={**WISHES, "rank": 0})).status_code in (400, 422)


async def _made(front: Any, name: str) -> Any:
    for _ in range(600):
        found = (await front.operator.get(f"/v1/plans/{name}")).json()
        if found["state"] != "running":
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("the plan never came")
