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
        ("tokens", 3.0), ("checkpoints", 3.0),
    }  # fmt: skip
    assert (await front.operator.get("/v1/usage", params={"tenant": "local"})).json()["data"] == []
    first = (await front.operator.get("/v1/audit", params={"limit": 2})).json()
    assert [one["details"]["tinker_path"] for one in first["data"]] == paths[:0:-1]
    rest = (await front.operator.get("/v1/audit", params={"limit": 2, "before": first["next"]})).json()
    assert [(one["tenant"], one["event"]) for one in rest["data"]] == [
        ("ann", "checkpoint_create"), ("ann", "key_create"),
    ]  # fmt: skip
    last = (await front.operator.get("/v1/audit", params={"limit": 2, "before": rest["next"]})).json()
    assert [(one["tenant"], one["details"]["by"]) for one in last["data"]] == [("local", "the server")]
    assert last["next"] is None


async def test_keys_quotas_and_who_signed_in_are_in_the_audit_and_never_the_key(front: Any) -> None:
    asked = {"tenant": "bob", "note": "laptop", "scopes": ["sample", "read"], "quota": {"runs": 3}}
    key = (await front.operator.post("/v1/keys", json=asked)).json()["key"]
    await front.operator.put("/v1/quotas/bob", json={"tokens_a_day": 10})
    holder = await front.keyring.check(key)
    operator = await front.keyring.check(front.operator.headers["x-api-key"])
    await front.operator.delete(f"/v1/keys/{holder.key_id}")
    assert (await front.operator.delete(f"/v1/keys/{operator.key_id}")).status_code == 403
    ticket = front.keyring.issue_ticket(operator)
    assert (await front.nobody.get("/", params={"token": ticket})).status_code == 303
    assert (await front.nobody.get("/", params={"token": ticket})).status_code == 401
    rows = (await front.operator.get("/v1/audit", params={"limit": 5})).json()["data"]
    told = {one["event"]: one["details"] for one in rows[::-1]}
    assert [(one["tenant"], one["event"]) for one in rows] == [
        ("local", "console_sign_in"), ("bob", "key_revoke"), ("bob", "quota_set"), ("bob", "quota_set"),
        ("bob", "key_create"),
    ]  # fmt: skip
    by = {"by": "local", "by_key": operator.key_id}
    made = {"key": holder.key_id, "scopes": "read sample", "operator": False, "note": "laptop"}
    assert told["key_create"] == made | by
    assert told["quota_set"] == {"tokens_a_day": 10, "runs": None, "storage_bytes": None, "queue": None} | by
    assert told["key_revoke"] == {"key": holder.key_id} | by
    assert told["console_sign_in"] == {"key": operator.key_id}
    assert not any(secret in str(rows) for secret in (key, key.partition("_")[2], ticket))
    mine = await front.keyring.add("ann", by=operator)
    seen = (await front.nobody.get("/api/v1/audit", headers={"x-api-key": mine})).json()["entries"][-1]
    assert (seen["event"], seen["event_details"]["user"]) == ("key_create", "local")


async def test_keys_come_a_page_at_a_time(front: Any) -> None:
    for number in range(3):
        await front.operator.post("/v1/keys", json={"tenant": f"guest-{number}"})
    first = (await front.operator.get("/v1/keys", params={"limit": 2})).json()
    assert [one["tenant"] for one in first["data"]] == ["guest-2", "guest-1"]
    rest = (await front.operator.get("/v1/keys", params={"before": first["next"]})).json()
    assert [one["tenant"] for one in rest["data"]] == ["guest-0", "ann", "local"]
    assert rest["next"] is None
    assert (await front.operator.get("/keys/key_none")).status_code == 404


async def test_all_of_it_is_the_operators(front: Any) -> None:
    for path in ("/v1/health", "/v1/configuration", "/v1/usage", "/v1/audit", "/v1/plans/plan_x"):
        assert (await front.user.get(path)).status_code == 403, path
    assert (await front.user.post("/v1/plans", json=WISHES)).status_code == 403


async def test_a_plan_is_asked_for_and_then_asked_after(front: Any) -> None:
    """What is made of it, a test in the browser looks at: planning takes seconds."""
    asked = (await front.operator.post("/v1/plans", json={**WISHES, "model": "no-such-model"})).json()
    assert (asked["state"], asked["wishes"]["sequence"]) == ("running", 128)
    told = await _made(front, asked["id"])
    assert (told["state"], told["plan"]) == ("failed", None)
    assert "There is no model 'no-such-model'" in told["failure"]
    assert "kimi-k2" in told["failure"]
    assert (await front.operator.get("/v1/plans/plan_none")).status_code == 404
    assert (await front.operator.post("/v1/plans", json={**WISHES, "rank": 0})).status_code in (400, 422)


async def _made(front: Any, name: str) -> Any:
    for _ in range(600):
        found = (await front.operator.get(f"/v1/plans/{name}")).json()
        if found["state"] != "running":
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("the plan never came")
