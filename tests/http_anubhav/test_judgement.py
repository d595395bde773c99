"""Rewards, raters and judges at the front door."""

import asyncio
import time
from typing import Any

import httpx2
import pytest

from anubhav.backends.fake.reading import FakeReader
from anubhav.episodes.recorder import Given
from anubhav.flows import judging
from anubhav.flows.chat import begin
from anubhav.flows.questions import Question
from anubhav.flows.react import react
from anubhav.types.chat import Message


async def ask(house: Any, text: str, n: int = 1, session: str | None = None) -> tuple[str, list[str]]:
    reply = await begin(house, "ann", Question("default", (Message("user", text),), n, 4, seed=1, session=session))
    texts = [""] * n
    async for piece in reply.pieces:
        texts[piece.index] += piece.text
    return reply.id, texts


async def test_feedback_reaches_the_critic_and_the_operator_sees_it(front: Any) -> None:
    for number in range(6):
        name, _ = await ask(front.house, f"hello {number}")
        given = {"target": name, "kind": "thumb", "value": True, "rater": "eve"}
        assert (await front.user.post("/v1/feedback", json=given)).status_code == 200
    shown = (await front.operator.get("/v1/rewards/default")).json()
    assert (shown["steps"], shown["alarms"], shown["implied"]) == (6, [], False)
    assert [(one["name"], one["votes"], one["mark"]) for one in shown["raters"]] == [("ann/eve", 6, None)]
    marked = await front.operator.post("/v1/raters", json={"rater": "ann/eve", "mark": "quarantined"})
    assert marked.json() == {"rater": "ann/eve", "mark": "quarantined"}
    shown = (await front.operator.get("/v1/rewards/default")).json()
    assert (shown["raters"][0]["quarantined"], shown["raters"][0]["trust"]) == (True, 0.0)


async def test_rewards_are_told_at_once_beside_a_backlog(front: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [(await ask(front.house, f"hello {number}"))[0] for number in range(4)]
    read, free = FakeReader.read, asyncio.Event()

    async def busy(reader: FakeReader, items: Any, *, tenant: str = "") -> Any:
        await free.wait()
        return await read(reader, items, tenant=tenant)

    monkeypatch.setattr(FakeReader, "read", busy)
    given = [{"target": name, "kind": "correction", "text": "Hi.", "rater": "eve"} for name in names]
    assert (await front.user.post("/v1/feedback", json=given)).status_code == 200
    started = time.monotonic()
    shown = (await front.operator.get("/v1/rewards/default")).json()
    assert time.monotonic() - started < 5
    assert (shown["steps"], shown["behind"], shown["audit_ready"]) == (0, 4, False)
    free.set()
    await front.house.critic.observe("default")
    shown = (await front.operator.get("/v1/rewards/default")).json()
    assert (shown["steps"], shown["behind"]) == (4, 0)


async def test_rewards_are_the_operators(front: Any) -> None:
    assert (await front.user.get("/v1/rewards/default")).status_code == 403
    assert (await front.nobody.get("/v1/rewards/default")).status_code == 401
    assert (await front.user.post("/v1/raters", json={"rater": "x", "mark": None})).status_code == 403
    assert (await front.user.post("/v1/judgements", json={"judge": "j", "model": "tiny"})).status_code == 403
    assert (await front.operator.get("/v1/rewards/nothing")).status_code == 404
    bad = {"judge": "j", "model": "tiny", "base_url": "file:///etc/passwd"}
    assert (await front.operator.post("/v1/judgements", json=bad)).status_code == 400


async def test_a_judge_of_the_house_that_babbles_has_no_vote(front: Any) -> None:
    await ask(front.house, "hello")
    outcome = await front.operator.post("/v1/judgements", json={"judge": "self", "model": "tiny"})
    assert outcome.json() == {"asked": 1, "voted": 0, "unread": 1}


@pytest.mark.parametrize(("status", "content"), [(200, "SCORE: 8"), (200, None), (500, "")])
async def test_a_remote_judge_votes_once_as_a_judge(
    front: Any, monkeypatch: pytest.MonkeyPatch, status: int, content: str | None
) -> None:
    name, _ = await ask(front.house, "hello", n=2)
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        pair = b"BETTER" in request.content
        said = ("BETTER: A" if len(seen) % 2 else "BETTER: B") if pair else content
        return httpx2.Response(status, json={"choices": [{"message": {"content": said}}]})

    client = httpx2.AsyncClient
    monkeypatch.setattr(
        judging.httpx2, "AsyncClient", lambda **_: client(transport=httpx2.MockTransport(answer)), raising=True
    )
    asked = {"judge": "big", "model": "x", "base_url": "https://judge.example/v1", "api_key": "secret"}
    outcome = await front.operator.post("/v1/judgements", json=asked)
    if status == 500:
        assert outcome.status_code == 503
        return
    assert seen[0].headers["authorization"] == "Bearer secret"
    votes = (2 if content else 0) + 1
    assert outcome.json() == {"asked": 3, "voted": votes, "unread": 3 - votes}
    again = await front.operator.post("/v1/judgements", json=asked)
    assert again.status_code == 200
    shown = (await front.operator.get("/v1/rewards/default")).json()
    assert [(one["name"], one["votes"]) for one in shown["raters"]] == [("judge:big", votes)]
    episodes = (await front.operator.get("/v1/episodes")).json()["data"]
    assert {one["source"] for one in episodes[0]["feedback"]} == {"judge"}
    assert episodes[0]["id"] == name


async def test_a_next_turn_counts_where_an_operator_says_so(front: Any) -> None:
    name, texts = await ask(front.house, "How long does it take?", session="s1")

    async def thank(session: str | None) -> list[str]:
        said = (Message("user", "How long does it take?"), Message("assistant", texts[0]), Message("user", "Thanks!"))
        reply = await begin(front.house, "ann", Question("default", said, 1, 4, session=session))
        assert [piece async for piece in reply.pieces]
        shown = (await front.operator.get("/v1/rewards/default")).json()
        return [f"{one['name']}: {one['votes']}" for one in shown["raters"]]

    assert await thank("s1") == []
    assert (await front.operator.put("/v1/rewards/default", json={"implied": True})).status_code == 200
    assert await thank(None) == await thank("another") == []
    assert await thank("s1") == ["implied:ann/: 1"]
    assert await thank("s1") == ["implied:ann/: 1"]
    await react(front.house, "ann", [Given(name, "thumb", value=True)])
    found = [one for episode, given in await front.house.recorder.recent(9) for one in given if episode.id == name]
    weights = await front.house.trust.weigh("default", found)
    assert {one.source: weights[one.id] for one in found} == {"person": 1.0, "implied": pytest.approx(0.1, abs=0.1)}
