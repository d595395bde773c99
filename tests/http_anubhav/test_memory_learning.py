"""Memory learns over HTTP: feedback becomes labels, labels a policy, and only a policy proved better decides."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from test_memory_chat import assistant, chat, user

from anubhav.memory.learn import Example
from anubhav.memory.scoring import FIXED


@pytest.fixture
def context() -> int:
    return 8192


async def teach(front: Any, needed: Mapping[str, float], others: Mapping[str, float], replies: int = 60) -> None:
    """So many judged replies, each drawing on one of four chunks."""
    for number in range(replies):
        examples = [Example(needed, 1.0), *[Example(others, 0.0)] * 3]
        await front.house.memory_policies.label("ann", f"fb_{number}", f"ep_{number}", examples)


async def test_a_correction_says_which_chunk_was_needed(front: Any) -> None:
    history = [user("My code is 4821."), assistant("I see."), user("My cat is called Tom."), assistant("How nice.")]
    answer = await chat(front.user, *history, "What is the code for the door?")
    given = {"target": answer.json()["id"], "kind": "correction", "text": "Your code is 4821."}
    assert (await front.user.post("/v1/feedback", json=given)).status_code == 200
    ((episode, examples),) = await front.house.memory_policies.labels("ann")
    assert episode == answer.json()["id"]
    assert [one.needed for one in examples].count(1.0) == 1
    (needed,) = [one for one in examples if one.needed]
    assert needed.features["numbers"] == 1.0
    plain = await chat(front.user, "Hello.", memory=None)
    disliked = [
        {"target": plain.json()["id"], "kind": "correction", "text": "4821."},
        {"target": answer.json()["id"], "kind": "thumb", "value": 0},
    ]
    assert (await front.user.post("/v1/feedback", json=disliked)).status_code == 200
    assert len(await front.house.memory_policies.labels("ann")) == 1
    await chat(front.user, "Hi.", user="ann")
    assert (await front.user.post("/v1/erase", json={"user": "ann"})).json()["memories"] == 1
    assert await front.house.memory_policies.labels("ann") == []


async def test_a_better_policy_decides_and_can_be_taken_back(front: Any) -> None:
    few = await front.user.post("/v1/memories/learn", json={})
    assert (few.status_code, "too few" in few.text) == (400, True)
    await teach(front, {"tool": 1.0}, {"user": 1.0, "numbers": 1.0})
    learned = (await front.user.post("/v1/memories/learn", json={})).json()
    assert learned["change"]["action"] == "activate"
    assert learned["before"] < 0.1 < 0.9 < learned["after"]
    found = (await front.user.get("/v1/memory-policies")).json()
    assert found["active"]["name"] == learned["change"]["policy"]["name"] == found["data"][0]["policy"]["name"]
    assert found["active"]["weights"]["tool"] > FIXED.weights["tool"]
    assert (await front.house.memory_policies.of("bob")) == FIXED
    again = (await front.user.post("/v1/memories/learn", json={})).json()
    assert again["change"]["action"] == "discard", "there is nothing left to gain"
    back = await front.user.post("/v1/memory-policies/rollback", json={"why": "to try"})
    assert back.json()["policy"]["name"] == "fixed"
    assert (await front.user.post("/v1/memory-policies/rollback", json={"why": "again"})).status_code == 400
    found = (await front.user.get("/v1/memory-policies")).json()
    assert (found["active"]["name"], found["data"][0]["why"]) == ("fixed", "to try")


async def test_what_is_not_proved_better_does_not_decide(front: Any) -> None:
    chance = random.Random(3)
    names = list(FIXED.weights)
    for number in range(60):
        examples = [Example({name: chance.random() for name in names}, float(place == 0)) for place in range(4)]
        await front.house.memory_policies.label("ann", f"fb_{number}", f"ep_{number}", examples)
    learned = (await front.user.post("/v1/memories/learn", json={})).json()
    assert learned["change"]["action"] == "discard"
    assert "not proved better" in learned["change"]["why"]
    assert (await front.user.get("/v1/memory-policies")).json()["active"]["name"] == "fixed"
