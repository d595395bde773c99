from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from anubhav.backends.fake.sampler import FakeSampler
from anubhav.errors import BadInput
from anubhav.serving.streams import Piece, room_after, speak
from anubhav.serving.voices import Voice, Voices
from anubhav.types.models import Model
from anubhav.types.sampling import Sampled, SampleRequest

BASE = Voice("tiny", "tiny")


class Gulping(FakeSampler):
    """Tells everything in one event a sample, as a sampler may that runs ahead."""

    async def sample(self, request: SampleRequest) -> AsyncGenerator[Sampled]:
        events = [event async for event in super().sample(request)]
        for index in range(request.first_index, request.first_index + request.n):
            mine = [event for event in events if event.index == index]
            tokens = [token for event in mine for token in event.tokens]
            logprobs = [logprob for event in mine for logprob in event.logprobs]
            yield Sampled(index, tuple(tokens), tuple(logprobs), (), mine[-1].stop_reason)


async def hear(
    stage: Any, request: SampleRequest, stops: Sequence[str] = (), voice: Voice = BASE, voices: Voices | None = None
) -> list[list[Piece]]:
    heard: list[list[Piece]] = [[] for _ in range(request.n)]
    async with aclosing(speak(voices or stage.voices, voice, request, stage.renderer, stops)) as pieces:
        async for piece in pieces:
            heard[piece.index].append(piece)
    return heard


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def tokens_of(pieces: list[Piece]) -> tuple[int, ...]:
    return tuple(token for piece in pieces for token in piece.tokens)


async def test_text_is_whole_characters_and_whole_in_the_end(stage: Any) -> None:
    taught = await stage.teach("Say", "naïve 🎉 né")
    voice = await stage.voices.of_path("ada", str(taught.path))
    [pieces] = await hear(stage, stage.request("Say", voice.adapter), voice=voice)
    assert text_of(pieces) == "naïve 🎉 né"
    assert not any("\N{REPLACEMENT CHARACTER}" in piece.text for piece in pieces)
    assert tokens_of(pieces) == stage.renderer.answer("naïve 🎉 né")
    assert [piece.stop_reason for piece in pieces[-2:]] == [None, "stop"]


@pytest.mark.parametrize("gulping", [False, True])
async def test_a_stop_string_ends_its_sample_at_the_token_that_completes_it(stage: Any, gulping: bool) -> None:
    taught = await stage.teach("Say", "one, two, three")
    voice = await stage.voices.of_path("ada", str(taught.path))
    voices = Voices(stage.database, {"tiny": Gulping(258, 512)}, stage.desk.checkpoints) if gulping else stage.voices
    for stops, text, told in (
        (("two", "never"), "one, ", "one, two"),
        (("three",), "one, two, ", "one, two, three"),
        (("threes", "one, tx"), "one, two, three", "one, two, three"),
    ):
        [pieces] = await hear(stage, stage.request("Say", voice.adapter), stops, voice, voices)
        assert (text_of(pieces), pieces[-1].stop_reason) == (text, "stop")
        assert stage.renderer.decode(tokens_of(pieces)) == told
        assert all(len(piece.tokens) == len(piece.logprobs) for piece in pieces)
    assert stage.sampler.running == 0


async def test_stop_strings_do_not_change_what_is_sampled(stage: Any) -> None:
    request = stage.request("Say", n=4)
    free = await hear(stage, request)
    texts = [text_of(one) for one in free]
    stop = texts[1][5:7]
    cut = await hear(stage, request, (stop,))
    assert [text_of(one) for one in cut] == [text.partition(stop)[0] for text in texts]
    assert all(tokens_of(whole)[: len(tokens_of(one))] == tokens_of(one) for one, whole in zip(cut, free, strict=True))
    assert len(tokens_of(cut[1])) < len(tokens_of(free[1]))


async def test_a_prompt_is_scored_once_however_many_samples_stop_at_strings(stage: Any) -> None:
    request = replace(stage.request("Say", n=3), prompt_logprobs=True, top_prompt_logprobs=2, prompt_draws=2)
    heard = await hear(stage, replace(request, prompt_targets=((1, 5),)), ("never so",))
    scored = [[piece.prompt is not None for piece in pieces] for pieces in heard]
    assert [sum(one) for one in scored] == [1, 0, 0]
    assert scored[0][0]


async def test_closing_early_and_failing_leave_nothing_behind(stage: Any) -> None:
    stream = speak(stage.voices, BASE, stage.request("Say", n=3), stage.renderer, ("never so",))
    await anext(stream)
    assert stage.sampler.running == 3
    await stream.aclose()
    assert stage.sampler.running == 0
    with pytest.raises(BadInput):
        await hear(stage, SampleRequest((999,), stage.request("Say").params))


def test_the_room_after_a_prompt(stage: Any) -> None:
    model = Model("tiny", stage.desk.checkpoints.path_of(""), "none", "folder", 8, 258)
    assert room_after([1] * 7, model) == 1
    for prompt in ([1] * 8, [], [258], [-1]):
        with pytest.raises(BadInput):
            room_after(prompt, model)
