import asyncio
from dataclasses import replace
from typing import Any

import pytest
from school import ask

from anubhav.errors import BadInput, Broken, Busy, Gone, Mismatch, NotFound
from anubhav.serving import lines
from anubhav.serving import sessions as room
from anubhav.serving.asks import Ask, SampleOutcome
from anubhav.serving.sessions import Waiting


async def opened(stage: Any, path: str | None = None) -> str:
    session = await stage.desk.open_session("ada", [], {}, "test")
    base = None if path else "tiny"
    return await stage.sessions.open("ada", session, 0, base_model=base, path=path)


def question(stage: Any, text: str = "Say", **changes: Any) -> Ask:
    return replace(Ask(stage.renderer.render(ask(text)), temperature=0.0, max_tokens=12), **changes)


async def outcome(stage: Any, promise: str) -> SampleOutcome:
    found = await stage.sessions.wait("ada", promise, 10)
    assert isinstance(found, SampleOutcome)
    return found


async def test_a_session_is_opened_once_and_belongs_to_its_tenant(stage: Any) -> None:
    taught = await stage.teach("Say", "yes")
    sampler = await opened(stage, str(taught.path))
    session = sampler.partition(":")[0]
    assert sampler == f"{session}:sample:0"
    assert await stage.sessions.open("ada", session, 0, path=str(taught.path)) == sampler
    row = await stage.sessions.find("ada", sampler)
    assert (row.base_model, row.path) == ("tiny", str(taught.path))
    for refused in (
        stage.sessions.find("eve", sampler),
        stage.sessions.submit("eve", sampler, 0, question(stage)),
        stage.sessions.open("eve", session, 1, base_model="tiny"),
        stage.sessions.open("ada", "no-such", 0, base_model="tiny"),
        stage.sessions.open("ada", session, 1, base_model="default"),
        stage.sessions.open("ada", session, 1, path="tinker://no:train:0/weights/x"),
    ):
        with pytest.raises(NotFound):
            await refused


async def test_samples_of_a_taught_adapter(stage: Any) -> None:
    taught = await stage.teach("Say", "one two")
    sampler = await opened(stage, str(taught.path))
    asked = question(stage, n=2, prompt_logprobs=True, top_prompt_logprobs=2, top_logprobs=3)
    found = await outcome(stage, await stage.sessions.submit("ada", sampler, 0, asked))
    assert [(one.tokens, one.stop_reason) for one in found.samples] == [(stage.renderer.answer("one two"), "stop")] * 2
    assert found.prompt is not None
    assert (len(found.prompt.logprobs), found.prompt.logprobs[0]) == (len(asked.prompt), None)
    first = found.samples[0]
    assert [pairs[0] for pairs in first.top] == list(zip(first.tokens, first.logprobs, strict=True))


async def test_every_kind_of_stop(stage: Any) -> None:
    taught = await stage.teach("Say", "one two")
    sampler = await opened(stage, str(taught.path))
    space = stage.renderer.encode(" ")[0]
    said: list[tuple[str, str]] = []
    for number, stop in enumerate((("two",), (space,), (), None)):
        promise = await stage.sessions.submit("ada", sampler, number, question(stage, stop=stop))
        [one] = (await outcome(stage, promise)).samples
        said.append((stage.renderer.decode(one.tokens)[:8], one.stop_reason))
    assert said[:2] == [("one two", "stop"), ("one ", "stop")]
    assert said[2] != ("one two", "stop")
    assert said[2][1] == "length"
    assert said[3] == ("one two", "stop")


async def test_asking_twice_is_asking_once(stage: Any) -> None:
    sampler = await opened(stage, str((await stage.teach("Ask", "yes")).path))
    asked = question(stage, n=3, temperature=1.0)
    promises = await asyncio.gather(*(stage.sessions.submit("ada", sampler, 5, asked) for _ in range(4)))
    assert len(set(promises)) == 1
    assert promises[0].startswith("sp_")
    await outcome(stage, promises[0])
    assert await stage.sessions.submit("ada", sampler, 5, asked) == promises[0]
    assert await outcome(stage, promises[0]) == await outcome(stage, promises[0])
    assert await stage.sessions.submit("ada", sampler, 6, asked) != promises[0]
    with pytest.raises(Mismatch):
        await stage.sessions.submit("ada", sampler, 5, question(stage, n=2))


async def test_what_is_not_held_is_gone(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = await opened(stage)
    promise = await stage.sessions.submit("ada", sampler, 0, question(stage))
    await outcome(stage, promise)
    for tenant, name in (("eve", promise), ("ada", "sp_unknown")):
        with pytest.raises(Gone):
            await stage.sessions.wait(tenant, name, 0)
    monkeypatch.setattr(room, "_KEPT", 0)
    later = await stage.sessions.submit("ada", sampler, 1, question(stage))
    with pytest.raises(Gone):
        await stage.sessions.wait("ada", promise, 0)
    await outcome(stage, later)


async def test_cancelling_frees_the_slots(stage: Any) -> None:
    sampler = await opened(stage)
    promise = await stage.sessions.submit("ada", sampler, 0, question(stage, n=8, temperature=1.0, max_tokens=400))
    assert isinstance(await stage.sessions.wait("ada", promise, 0.01), Waiting)
    await stage.sessions.cancel("eve", promise)
    assert stage.sampler.running
    await stage.sessions.cancel("ada", promise)
    with pytest.raises(Gone):
        await stage.sessions.wait("ada", promise, 10)
    assert stage.sampler.running == 0


async def test_too_many_at_once_are_busy_until_some_are_done(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_OPEN", 2)
    sampler = await opened(stage)
    # Long enough to be under way still when the third comes, whoever is scheduled first.
    long = question(stage, n=64, temperature=1.0, max_tokens=400, stop=())
    promises = [await stage.sessions.submit("ada", sampler, number, long) for number in range(2)]
    with pytest.raises(Busy):
        await stage.sessions.submit("ada", sampler, 2, long)
    session = await stage.desk.open_session("eve", [], {}, "test")
    other = await stage.sessions.open("eve", session, 0, base_model="tiny")
    await stage.sessions.wait("eve", await stage.sessions.submit("eve", other, 0, question(stage)), 10)
    await stage.sessions.cancel("ada", promises[0])
    with pytest.raises(Gone):
        await stage.sessions.wait("ada", promises[0], 10)
    await stage.sessions.cancel("ada", promises[1])
    await outcome(stage, await stage.sessions.submit("ada", sampler, 2, question(stage)))


async def test_a_failure_is_an_answer_and_a_bad_request_is_refused(stage: Any) -> None:
    sampler = await opened(stage)
    for prompt in ((), (1,) * 512, (258,)):
        with pytest.raises(BadInput):
            await stage.sessions.submit("ada", sampler, 0, Ask(prompt))
    taught = await stage.teach("Say", "yes")
    lost = await opened(stage, str(taught.path))
    (await stage.desk.checkpoints.folder(taught) / "adapter_config.json").unlink()
    failed = await stage.sessions.wait("ada", await stage.sessions.submit("ada", lost, 0, question(stage)), 10)
    assert isinstance(failed, Broken)
    await outcome(stage, await stage.sessions.submit("ada", sampler, 0, question(stage)))


async def test_samples_nobody_waits_for_make_room(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = await opened(stage)
    long = question(stage, n=64, temperature=1.0, max_tokens=400, stop=())
    abandoned, watched = [await stage.sessions.submit("ada", sampler, number, long) for number in range(2)]
    waiting = asyncio.create_task(stage.sessions.wait("ada", watched, 30))
    await asyncio.sleep(0.01)
    monkeypatch.setattr(room, "_ABANDONED_SECONDS", 0.0)
    await stage.sessions.submit("ada", sampler, 2, question(stage))
    with pytest.raises(Gone):
        await stage.sessions.wait("ada", abandoned, 10)
    assert not isinstance(await waiting, Waiting)
