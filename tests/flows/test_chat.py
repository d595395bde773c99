"""A reply without the web: fixed to one voice, recorded before it ends, gone without a trace when nobody listens."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model
from school import ask, teach

from anubhav.app import build
from anubhav.errors import BadInput, NotFound
from anubhav.flows import complete
from anubhav.flows.chat import Reply, begin
from anubhav.flows.complete import Passage
from anubhav.flows.house import House
from anubhav.flows.questions import Question
from anubhav.releases.register import Register
from anubhav.settings import Settings
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.experience import Episode, Lap, Release
from anubhav.types.models import Model
from anubhav.types.sampling import PromptScores

QUESTION = Question("default", ask("Who?"), max_tokens=30, temperature=0.0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    write_model(tmp_path / "tiny")
    model = Model("tiny", tmp_path / "tiny", "Apache-2.0", "folder", 512, 258)
    async with AsyncExitStack() as stack:
        settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
        yield (await stack.enter_async_context(build(settings, {"tiny": model})))[0]


def running(house: House) -> int:
    sampler: Any = house.voices._samplers["tiny"]
    return sampler.running


async def read(reply: Reply) -> list[str]:
    texts: dict[int, str] = {}
    async for piece in reply.pieces:
        texts[piece.index] = texts.get(piece.index, "") + piece.text
    return [texts[index] for index in sorted(texts)]


async def promote(register: Register, taught: Checkpoint) -> None:
    release = Release("rel_1", "default", str(taught.path), taught.adapter, "promote", "ada", "test", 0.0, "lap_1")
    await register.settle(release, Lap("lap_1", "default", "done", "done", 0.0), "{}", None)


async def test_the_episode_is_safe_before_the_last_piece(house: House) -> None:
    question = replace(QUESTION, n=3, temperature=1.0, seed=4, session="s-1")
    reply = await begin(house, "ada", question)
    open_choices, tokens = 3, 0
    async for piece in reply.pieces:
        tokens += len(piece.tokens)
        open_choices -= piece.stop_reason is not None
        if open_choices:
            with pytest.raises(NotFound):
                await house.recorder.find("ada", reply.id)
        else:
            assert isinstance(await house.recorder.find("ada", reply.id), Episode)
    episode = await house.recorder.find("ada", reply.id)
    assert (episode.alias, episode.base_model, episode.adapter) == ("default", "tiny", None)
    assert (episode.session, episode.temperature, episode.messages) == ("s-1", 1.0, question.messages)
    assert episode.prompt_tokens == reply.prompt_tokens == house.renderers["tiny"].render(question.messages)
    assert [len(choice.tokens) == len(choice.logprobs) for choice in episode.choices] == [True] * 3
    assert sum(len(choice.tokens) for choice in episode.choices) == tokens
    again = await begin(house, "ada", question)
    assert await read(again) == [choice.text for choice in episode.choices]


async def test_a_reply_keeps_the_voice_it_began_with(house: House) -> None:
    taught = await teach(house.desk, house.renderers["tiny"], "ada", "Who?", "Me.")
    plain = await read(await begin(house, "ada", QUESTION))
    early = await begin(house, "ada", QUESTION)
    await promote(house.register, taught)
    late = await begin(house, "ada", QUESTION)
    assert await read(late) == ["Me."]
    assert await read(early) == plain != ["Me."]
    adapters = [(await house.recorder.find("ada", reply.id)).adapter for reply in (early, late)]
    assert adapters == [None, taught.adapter]
    await house.register.rollback("default", "ada", "test")
    assert await read(await begin(house, "ada", QUESTION)) == plain


async def test_nobody_listening_frees_the_slots_and_records_nothing(house: House) -> None:
    reply = await begin(house, "ada", replace(QUESTION, n=4, temperature=1.0, max_tokens=400, seed=5))
    async with aclosing(reply.pieces) as pieces:
        await anext(pieces)
        assert running(house) == 4
    assert running(house) == 0
    assert await house.recorder.recent(10) == []


async def test_stop_strings_are_heard_but_not_told(house: House) -> None:
    taught = await teach(house.desk, house.renderers["tiny"], "ada", "Who?", "one, two")
    reply = await begin(house, "ada", replace(QUESTION, model=str(taught.path), stop=(", t",)))
    assert await read(reply) == ["one"]
    [choice] = (await house.recorder.find("ada", reply.id)).choices
    assert (choice.text, choice.stop_reason) == ("one", "stop")
    assert house.renderers["tiny"].decode(choice.tokens) == "one, t"


async def test_answers_fit_the_context_and_questions_must(house: House) -> None:
    long = replace(QUESTION, messages=ask("x" * 460), max_tokens=10**6, temperature=1.0, n=2)
    reply = await begin(house, "ada", long)
    await read(reply)
    for choice in (await house.recorder.find("ada", reply.id)).choices:
        assert len(reply.prompt_tokens) + len(choice.tokens) <= 512
    for wrong, error in (
        (replace(QUESTION, messages=ask("x" * 512)), BadInput),
        (replace(QUESTION, model="gpt"), NotFound),
    ):
        with pytest.raises(error):
            await begin(house, "ada", wrong)


async def test_a_passage_is_scored_and_continued_and_not_recorded(house: House) -> None:
    taught = await teach(house.desk, house.renderers["tiny"], "ada", "Who?", "Me.")
    prompt = house.renderers["tiny"].render(ask("Who?"))
    passage = Passage(str(taught.path), (prompt, "abc"), 1, 8, 0.0, top_logprobs=2, prompt_logprobs=True)
    voice, parts = await complete.begin(house, "ada", passage)
    assert [part.prompt for part in parts] == [prompt, house.renderers["tiny"].encode("abc")]
    pieces = [piece async for piece in parts[0].pieces]
    assert ("".join(piece.text for piece in pieces), pieces[-1].stop_reason) == ("Me.", "stop")
    scores = pieces[0].prompt
    assert isinstance(scores, PromptScores)
    assert (len(scores.logprobs), len(scores.top), voice.adapter) == (len(prompt), len(prompt), taught.adapter)
    await parts[1].pieces.aclose()
    assert await house.recorder.recent(10) == []
    with pytest.raises(BadInput):
        await complete.begin(house, "ada", replace(passage, prompts=("abc", "")))
