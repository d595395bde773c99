"""Memory learns over HTTP: feedback becomes labels, labels a policy, and only a policy proved better decides."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from test_memory_chat import assistant, chat, user

from anubhav.flows.memory_lessons import learn_due
from anubhav.memory.learn import Example, fit
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
    assert needed.tokens == len("user: My code is 4821.\n")
    plain = await chat(front.user, "Hello.", memory=None)
    disliked = [
        {"target": plain.json()["id"], "kind": "correction", "text": "4821."},
        {"target": answer.json()["id"], "kind": "thumb", "value": 0},
    ]
    assert (await front.user.post("/v1/feedback", json=disliked)).status_code == 200
    assert len(await front.house.memory_policies.labels("ann")) == 1
    unwilling = await front.user.post(
        "/v1/chat/completions",
        json={
            "model": "default",
            "messages": [user("Which code?")],
            "max_tokens": 4,
            "session_id": "s-1",
            "memory": True,
        },
        headers={"x-anubhav-train": "no"},
    )
    given = {"target": unwilling.json()["id"], "kind": "correction", "text": "Your code is 4821."}
    assert (await front.user.post("/v1/feedback", json=given)).status_code == 200
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


async def test_reinforcement_is_taken_where_it_answers_more(front: Any) -> None:
    """Of many chunks with much of it, and of two with little, the needed one has most: over all of them it looks as if
    less were needed."""
    shapes = ((20, 0.5, 0.4), (2, 0.1, 0.0))
    groups: list[tuple[str, list[Example]]] = []
    for number in range(60):
        size, much, less = shapes[number % 2]
        examples = [Example({"tool": much}, 1.0, tokens=10), *[Example({"tool": less}, 0.0, tokens=10)] * (size - 1)]
        groups.append((f"ep_{number}", examples))
        await front.house.memory_policies.label("ann", f"fb_{number}", f"ep_{number}", examples)
    assert fit([one for _, examples in groups for one in examples], FIXED, "fitted").weights["tool"] < 0
    learned = (await front.user.post("/v1/memories/learn", json={})).json()
    assert (learned["change"]["action"], learned["before"]) == ("activate", 0.0), learned
    assert learned["change"]["policy"]["weights"]["tool"] > 0
    assert learned["after"] > 0.9


async def test_a_refiller_is_taught_by_keys_that_train(front: Any) -> None:
    refused = await front.user.post("/v1/memories/refiller")
    assert (refused.status_code, "shorten 0 passages" in refused.text) == (400, True)
    with front.house.memory_policies.learning("ann"):
        assert (await front.user.post("/v1/memories/refiller")).status_code == 429
        assert (await front.user.post("/v1/memories/learn", json={})).status_code == 429
    front.user.headers["x-api-key"] = await front.keyring.add("ann", scopes=frozenset(["sample"]))
    assert (await front.user.post("/v1/memories/refiller")).status_code == 403


async def test_enough_that_is_new_is_learned_from_of_its_own_accord(front: Any) -> None:
    policies = front.house.memory_policies
    await teach(front, {"tool": 1.0}, {"user": 1.0, "numbers": 1.0}, replies=40)
    await learn_due(front.house)
    assert await policies.history("ann") == []
    await teach(front, {"tool": 1.0}, {"user": 1.0, "numbers": 1.0})
    await learn_due(front.house)
    assert [(one.action, one.who) for one in await policies.history("ann")] == [("activate", "anubhav")]
    await learn_due(front.house)
    assert len(await policies.history("ann")) == 1, "nothing new was said"
