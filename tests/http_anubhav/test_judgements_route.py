"""Judgements at the front door: a page at a time, by kind and rater, and what became of each."""

from typing import Any

from anubhav.types.people import Use


async def ask(client: Any, text: str) -> str:
    body = {"model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 4}
    return (await client.post("/v1/chat/completions", json=body)).json()["id"]


async def listed(client: Any, **wanted: Any) -> Any:
    answer = await client.get("/v1/feedback", params=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_judgements_come_by_kind_by_rater_and_a_page_at_a_time(front: Any) -> None:
    for number in range(3):
        name = await ask(front.user, f"question {number}")
        thumb = {"target": name, "kind": "thumb", "value": True, "rater": "eve"}
        better = {"target": name, "kind": "correction", "text": "hello", "rater": "bob/eve"}
        assert (await front.user.post("/v1/feedback", json=[thumb, better])).status_code == 200
    await front.operator.post(
        "/v1/feedback", json={"target": await ask(front.operator, "mine"), "kind": "thumb", "value": 0}
    )
    first = await listed(front.operator, limit=3)
    assert [(one["kind"], one["rater"], one["asked"]) for one in first["data"]] == [
        ("thumb", "local/", "mine"), ("correction", "ann/bob/eve", "question 2"), ("thumb", "ann/eve", "question 2"),
    ]  # fmt: skip
    rest = await listed(front.operator, before=first["next"], limit=10)
    assert (len(rest["data"]), rest["next"]) == (4, None)
    assert {one["kind"] for one in (await listed(front.operator, kind="correction"))["data"]} == {"correction"}
    assert [one["rater"] for one in (await listed(front.operator, rater="ann/bob/eve"))["data"]] == ["ann/bob/eve"] * 3
    assert (await listed(front.operator, rater="ann/nobody"))["data"] == []
    assert len((await listed(front.user))["data"]) == 6
    assert (await front.operator.get("/v1/feedback", params={"kind": "smile"})).status_code == 400
    assert (await front.operator.get("/v1/feedback", params={"alias": "nothing"})).status_code == 404


async def test_what_became_of_a_judgement(front: Any) -> None:
    name = await ask(front.operator, "hi")
    await front.operator.post("/v1/feedback", json={"target": name, "kind": "correction", "text": "hello"})
    assert [(one["became"], one["laps"]) for one in (await listed(front.operator))["data"]] == [("waits", [])]
    lap = (await front.operator.post("/v1/laps", json={})).json()["id"]
    await front.house.laps.wait((await front.house.laps.find(lap))[0])
    assert [(one["became"], one["laps"]) for one in (await listed(front.operator))["data"]] == [("used", [lap])]
    assert (await front.operator.get("/v1/laps", params={"before": lap})).json() == {"data": [], "next": None}


async def test_a_lap_that_is_gone_is_not_named(front: Any) -> None:
    name = await ask(front.operator, "hi")
    given = await front.operator.post("/v1/feedback", json={"target": name, "kind": "thumb", "value": 1})
    await front.house.lineage.used("lap_none", [Use(name, 0, given.json()["id"], "reinforced", 0)])
    assert [(one["became"], one["laps"]) for one in (await listed(front.operator))["data"]] == [("waits", [])]
