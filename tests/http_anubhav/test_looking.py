"""Looking at the house over HTTP: the overview, sessions, runs, answers worth a judgement, and learning on hold."""

import asyncio
from typing import Any

from anubhav.training.client import RunClient
from anubhav.types.training import LoraSpec, OptimParams

CHAT = "/v1/chat/completions"


async def ask(client: Any, text: str, **more: Any) -> str:
    body = {"model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 4, **more}
    return (await client.post(CHAT, json=body)).json()["id"]


async def test_the_overview_counts_what_was_said_and_tells_what_waits(front: Any) -> None:
    empty = (await front.operator.get("/v1/overview")).json()
    assert (empty["day"]["requests"], empty["needs"]) == (0, [])
    assert [name for name, done in empty["started"].items() if done] == ["shared"]
    name = await ask(front.operator, "hi")
    await front.operator.post("/v1/feedback", json={"target": name, "kind": "thumb", "value": False})
    await front.operator.post("/v1/feedback", json={"target": name, "kind": "correction", "text": "hello"})
    found = (await front.operator.get("/v1/overview")).json()
    assert {part: found["day"][part] for part in ("requests", "judgements", "up", "down", "corrections")} == {
        "requests": 1, "judgements": 2, "up": 0, "down": 1, "corrections": 1,
    }  # fmt: skip
    assert [(one["what"], one["subject"]) for one in found["needs"]] == [("unread", "default")]
    assert found["started"] == {"asked": True, "judged": True, "learned": False, "released": False, "shared": True}
    assert (await front.user.get("/v1/overview")).status_code == 403


async def test_sessions_come_a_page_at_a_time_and_are_the_tenants_own(front: Any) -> None:
    for number in range(5):
        await ask(front.operator, f"question {number}", session_id=f"s{number % 3}")
    await ask(front.user, "mine", session_id="s0")
    alone = await ask(front.operator, "without a session")
    first = (await front.operator.get("/v1/sessions", params={"limit": 2})).json()
    assert [(one["session"], one["tenant"], one["replies"]) for one in first["data"]] == [
        (None, "local", 1), ("s0", "ann", 1),
    ]  # fmt: skip
    assert first["data"][0]["last"] == alone
    rest = (await front.operator.get("/v1/sessions", params={"before": first["next"]})).json()
    assert [(one["session"], one["replies"], one["asked"]) for one in rest["data"]] == [
        ("s1", 2, "question 4"), ("s0", 2, "question 3"), ("s2", 1, "question 2"),
    ]  # fmt: skip
    assert rest["next"] is None
    assert len((await front.user.get("/v1/sessions")).json()["data"]) == 1
    turns = (await front.operator.get("/v1/sessions/s0/episodes", params={"limit": 1})).json()
    later = (await front.operator.get("/v1/sessions/s0/episodes", params={"after": turns["next"]})).json()
    said = [one["messages"][-1]["content"] for one in (*turns["data"], *later["data"])]
    assert said == ["question 0", "question 3"]
    assert (await front.user.get("/v1/sessions/s1/episodes")).status_code == 404


async def test_a_run_tells_what_each_operation_measured(front: Any) -> None:
    client = await RunClient.start(front.house.desk, "ann", "tiny", LoraSpec(rank=4), tag="look")
    await client.optim_step(OptimParams(learning_rate=0.25))
    run = (await front.user.get("/v1/runs")).json()["data"][0]
    assert (run["tenant"], run["rank"], run["ended"]) == ("ann", 4, False)
    place = f"/v1/runs/{run['id']}/metrics"
    found = (await front.user.get(place)).json()["data"]
    assert [(one["seq"], one["kind"], one["state"]) for one in found] == [(0, "Create", "done"), (1, "Step", "done")]
    assert found[1]["metrics"]["learning_rate"] == 0.25
    assert [one["seq"] for one in (await front.operator.get(place, params={"after": 0})).json()["data"]] == [1]
    shown = (await front.user.get(f"/v1/runs/{run['id']}")).json()
    assert [(one["what"], one["cause"]) for one in shown["events"]] == [("begun", "from a fresh adapter")]
    assert (shown["rank"], shown["queue"]) == (4, None)
    assert (await front.operator.get("/v1/runs")).json()["queue"] == {"active": 0, "waiting": 0, "held": 0}
    assert "queue" not in (await front.user.get("/v1/runs")).json()
    await client.end()
    other = await front.keyring.add("bob")
    assert (await front.nobody.get(f"/v1/runs/{run['id']}", headers={"x-api-key": other})).status_code == 404
    assert (await front.nobody.get(place, headers={"x-api-key": other})).status_code == 404


async def test_the_queue_brings_complaints_first_and_nothing_twice(front: Any) -> None:
    quiet = [await ask(front.operator, f"question {number}", n=1) for number in range(4)]
    pair = await ask(front.operator, "which?", n=2, seed=1)
    bad = await ask(front.operator, "what?")
    await front.operator.post("/v1/feedback", json={"target": bad, "kind": "thumb", "value": False, "rater": "a"})
    queue = (await front.operator.get("/v1/review", params={"rater": "me"})).json()["data"]
    assert (queue[0]["why"], queue[0]["answers"][0]["target"]) == ("complaint", f"{bad}:0")
    assert {one["why"] for one in queue[1:]} <= {"uncertainty", "audit"}
    (two,) = [one for one in queue if one["kind"] == "pair"]
    assert {answer["target"] for answer in two["answers"]} == {f"{pair}:0", f"{pair}:1"}
    first, second = (answer["target"] for answer in two["answers"])
    given = [
        {"target": f"{quiet[0]}:0", "kind": "thumb", "value": True, "rater": "me"},
        {"target": first, "kind": "comparison", "value": second, "rater": "me"},
    ]
    assert (await front.operator.post("/v1/feedback", json=given)).status_code == 200
    left = (await front.operator.get("/v1/review", params={"rater": "me"})).json()["data"]
    assert len(left) == len(queue) - 2
    others = (await front.operator.get("/v1/review", params={"rater": "you"})).json()["data"]
    assert len(others) == len(queue)
    assert (await front.user.get("/v1/review")).json()["data"] == []
    assert (await front.operator.get("/v1/review", params={"alias": "nothing"})).status_code == 404


async def test_on_hold_no_lap_begins_and_the_one_that_runs_rests(front: Any) -> None:
    name = await ask(front.operator, "hi")
    await front.operator.post("/v1/feedback", json={"target": name, "kind": "correction", "text": "hello"})
    lap = (await front.operator.post("/v1/laps", json={})).json()["id"]
    held = (await front.operator.put("/v1/learning", json={"paused": True, "why": "look first"})).json()
    assert (held["paused"], held["hold"]["who"], held["hold"]["why"]) == (True, "local", "look first")
    assert (await front.operator.get(f"/v1/laps/{lap}")).json()["state"] == "paused"
    refused = await front.operator.post("/v1/laps", json={"alias": "other"})
    assert refused.status_code == 400
    assert "look first" in refused.json()["error"]["message"]
    assert (await front.user.put("/v1/learning", json={"paused": False})).status_code == 403
    await front.operator.put("/v1/learning", json={"paused": False})
    for _ in range(500):
        if (await front.operator.get(f"/v1/laps/{lap}")).json()["state"] == "done":
            break
        await asyncio.sleep(0.02)
    assert (await front.operator.get(f"/v1/laps/{lap}")).json()["state"] == "done"
    assert (await front.operator.get("/v1/learning")).json() == {"paused": False, "hold": None}
