"""Memory in chats, over HTTP: what is heard, what stands in the prompt, and that nothing is heard twice or lost."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.catalog.folders import inspect
from anubhav.flows.chat import begin
from anubhav.flows.questions import Question
from anubhav.memory.present import HEADER
from anubhav.settings import Settings
from anubhav.types.chat import Message
from anubhav.types.remembering import MemoryUse

SESSION = {"memory": {"budget": 2000}, "session_id": "s-1"}


@pytest.fixture
def context() -> int:
    return 8192


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


async def chat(client: Any, *messages: Any, **more: Any) -> Any:
    spoken = [user(one) if isinstance(one, str) else one for one in messages]
    asked = {"model": "default", "messages": spoken, "max_tokens": 4, "seed": 1, **SESSION, **more}
    answer = await client.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    return answer


def text_of(answer: Any) -> str:
    return answer.json()["choices"][0]["message"]["content"]


async def prompt_of(front: Any, answer: Any) -> list[dict[str, str]]:
    episodes = (await front.user.get("/v1/episodes")).json()["data"]
    return next(one["messages"] for one in episodes if one["id"] == answer.json()["id"])


async def memories(front: Any, **asked: str) -> list[Any]:
    return (await front.user.get("/v1/memories", params=asked)).json()["data"]


async def only(front: Any) -> Any:
    (found,) = await memories(front)
    return (await front.user.get(f"/v1/memories/{found['id']}")).json()


def said(memory: Any, role: str = "user") -> list[str]:
    return [chunk["text"] for chunk in memory["chunks"] if chunk["role"] == role]


async def test_memory_is_off_until_it_is_asked_for(front: Any) -> None:
    for off in ({"memory": None}, {"memory": False}):
        answer = await chat(front.user, "The code is 4821.", **off)
        assert "x-anubhav-memory" not in answer.headers
        assert await prompt_of(front, answer) == [user("The code is 4821.")]
    assert await memories(front) == []


async def test_what_was_said_stands_in_the_next_prompt(front: Any) -> None:
    first = await chat(front.user, {"role": "system", "content": "Be brief."}, "The door code is 4821.")
    assert (await prompt_of(front, first))[0]["content"] == "Be brief."
    second = await chat(front.user, {"role": "system", "content": "Be brief."}, "Which code?")
    system, *rest = await prompt_of(front, second)
    assert rest == [user("Which code?")]
    assert system["role"] == "system"
    assert system["content"].startswith(f"Be brief.\n\n{HEADER}user: The door code is 4821.\nassistant: ")
    assert "Which code" not in system["content"]
    memory = await only(front)
    assert second.headers["x-anubhav-memory"].startswith(f"{memory['id']}@")
    assert said(memory) == ["The door code is 4821.", "Which code?"]
    assert (memory["turns"], memory["scope"], memory["key"], memory["budget"]) == (4, "session", "s-1", 2000)
    assert memory["tokens"] == sum(chunk["tokens"] for chunk in memory["chunks"]) <= 2000


async def test_a_stream_remembers_as_a_reply_does(front: Any) -> None:
    first = await chat(front.user, "The door code is 4821.", stream=True)
    assert first.headers["x-anubhav-memory"].startswith("mem_")
    assert first.text.rstrip().endswith("data: [DONE]")
    assert (await only(front))["turns"] == 2


async def test_who_sends_the_whole_history_is_heard_once(front: Any) -> None:
    first = await chat(front.user, "The door code is 4821.")
    history = [user("The door code is 4821."), assistant(f"  {text_of(first)}\n"), user("Thanks.")]
    second = await chat(front.user, *history)
    third = await chat(front.user, *history, assistant(text_of(second)), user("Which code?"))
    memory = await only(front)
    assert said(memory) == ["The door code is 4821.", "Thanks.", "Which code?"]
    assert memory["turns"] == 6
    system, *rest = await prompt_of(front, third)
    assert rest == [user("Which code?")]
    assert system["content"].count("4821") == 1


async def test_a_request_that_failed_is_heard_once(front: Any) -> None:
    question = Question(
        "default", (Message("user", "My code is 4821."),), session="s-1", memory=MemoryUse(2000), max_tokens=4
    )
    for _ in range(2):
        reply = await begin(front.house, "ann", question)
        await reply.pieces.aclose()
    assert (await only(front))["turns"] == 1
    await chat(front.user, "My code is 4821.")
    memory = await only(front)
    assert (said(memory), memory["turns"]) == (["My code is 4821."], 2)
    added = await chat(front.user, "My code is 4821.", assistant("x"), "So?", "Well?")
    assert [one["content"] for one in (await prompt_of(front, added))[1:]] == ["So?", "Well?"]


async def test_another_answer_to_the_same_question_does_not_see_the_first(front: Any) -> None:
    await chat(front.user, "One.")
    first = await chat(front.user, "Which?", seed=2)
    second = await chat(front.user, "Which?", seed=3)
    shown = [(await prompt_of(front, one))[0]["content"] for one in (first, second)]
    assert shown[0] == shown[1]
    memory = await only(front)
    assert said(memory) == ["One.", "Which?"]
    # Both answers are remembered, and a history that goes on from the second is heard from there.
    assert len(said(memory, "assistant")) <= 3
    await chat(front.user, "Which?", assistant(text_of(second)), "Next.")
    assert said(await only(front)) == ["One.", "Which?", "Next."]


async def test_of_an_edited_history_only_the_end_is_heard(front: Any) -> None:
    await chat(front.user, "The code is 4821.")
    await chat(front.user, "The code is 7777.", assistant("Edited."), "And now?")
    assert said(await only(front)) == ["The code is 4821.", "And now?"]


async def test_a_memory_that_begins_later_hears_the_history(front: Any) -> None:
    history = [user("The code is 4821."), assistant("I see."), user("It is raining."), assistant("Indeed.")]
    answer = await chat(front.user, *history, "Which code?")
    system, *rest = await prompt_of(front, answer)
    assert rest == [user("Which code?")]
    assert "4821" in system["content"]
    assert (await only(front))["turns"] == 6


async def test_a_tool_loop_keeps_its_question_and_calls_in_the_prompt(front: Any) -> None:
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q": "door"}'}}],
    }
    result = {"role": "tool", "tool_call_id": "c1", "content": "The code is 4821."}
    await chat(front.user, "Hello.")
    answer = await chat(front.user, "Look it up.", call, result)
    _, *rest = await prompt_of(front, answer)
    assert [one["role"] for one in rest] == ["user", "assistant", "tool"]
    memory = await only(front)
    assert said(memory, "tool") == ["The code is 4821."]
    assert any("look" in text and "door" in text for text in said(memory, "assistant"))


async def test_requests_at_once_are_all_heard(front: Any) -> None:
    texts = [f"Fact {number} is {1000 + number}." for number in range(12)]
    await asyncio.gather(*(chat(front.user, text, memory={"budget": 4000}) for text in texts))
    memory = await only(front)
    assert memory["turns"] == 24
    assert sorted(said(memory)) == sorted(texts)


async def test_a_user_is_remembered_across_sessions(front: Any) -> None:
    use = {"memory": {"budget": 2000, "scope": "user"}, "user": "ann"}
    await chat(front.user, "I live in Pune.", **use, session_id="s-1")
    answer = await chat(front.user, "Where?", **use, session_id="s-2")
    assert "Pune" in (await prompt_of(front, answer))[0]["content"]
    other = await chat(front.user, "Where?", **{**use, "user": "bob"}, session_id="s-3")
    assert "Pune" not in str(await prompt_of(front, other))
    found = {(one["scope"], one["key"]) for one in await memories(front, user="ann")}
    assert found == {("user", "ann")}
    stranger = {"model": "default", "messages": [user("Where?")], "max_tokens": 2, **use}
    await front.operator.post("/v1/chat/completions", json=stranger)
    theirs = (await front.operator.get("/v1/memories")).json()["data"]
    assert [one["turns"] for one in theirs] == [2]


@pytest.mark.parametrize("more", [{"store": False}, {"messages": [user("Generate a concise, 3-5 word title")]}])
async def test_what_is_not_stored_and_side_turns_read_and_do_not_write(front: Any, more: Any) -> None:
    await chat(front.user, "The code is 4821.")
    before = await only(front)
    answer = await chat(front.user, "Which code?", **more)
    assert answer.headers["x-anubhav-memory"] == f"{before['id']}@{before['version']}"
    if "store" not in more:
        assert "4821" in (await prompt_of(front, answer))[0]["content"]
    assert await only(front) == before


async def test_old_words_make_room_and_the_budget_holds(front: Any) -> None:
    for number in range(60):
        await chat(front.user, f"Note {number}: the {number}th thing that happened today was small.")
        memory = await only(front)
        assert memory["tokens"] <= 2000
    assert memory["turns"] == 120
    ledger = (await front.user.get(f"/v1/memories/{memory['id']}/ledger", params={"limit": 500})).json()["data"]
    assert {"kept"} < {line["act"] for line in ledger}
    held = {chunk["id"] for chunk in memory["chunks"]}
    gone = {line["chunk"] for line in ledger} - held
    last = {line["chunk"]: line["act"] for line in reversed(ledger)}
    assert gone
    assert {last[chunk] for chunk in gone} <= {"dropped", "superseded"}


async def test_what_is_redacted_is_not_remembered(front: Any) -> None:
    policy = {"patterns": [{"name": "email"}]}
    assert (await front.operator.put("/v1/policies/ann", json=policy)).status_code == 200
    await chat(front.user, "Write to a@b.example today.")
    assert said(await only(front)) == ["Write to [email] today."]


async def test_memories_outlive_the_server(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny", 8192)
    model = inspect(tmp_path / "tiny", "tiny", repair="")
    settings = Settings(tmp_path / "data", tmp_path / "models", models=("tiny",))
    question = Question(
        "default", (Message("user", "The code is 4821."),), session="s", memory=MemoryUse(2000), max_tokens=4
    )
    names: list[str | None] = []
    for text in ("The code is 4821.", "Which code?"):
        async with build(settings, {"tiny": model}) as (house, _):
            reply = await begin(house, "ann", replace(question, messages=(Message("user", text),)))
            _ = [piece async for piece in reply.pieces]
            names.append(reply.memory)
            prompt = house.renderers["tiny"].decode(reply.prompt_tokens)
    assert "user: The code is 4821." in prompt
    assert names[0] and names[1]
    assert names[0].split("@")[0] == names[1].split("@")[0]
