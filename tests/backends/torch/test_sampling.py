"""The sampler against the trainer's own log-probabilities, and against itself alone and in company."""

import asyncio
import math
import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.sampling.sampler import Sampling
from anubhav.backends.torch.sampling.voices import Voice
from anubhav.errors import BadInput
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import PromptScores, Sampled, SampleRequest, SamplingParams
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

RUN, SPOKEN = AdapterId("run"), AdapterId("ad_spoken")
Samples = dict[int, tuple[list[int], list[float]]]


async def collect(engine: TorchEngine, request: SampleRequest) -> tuple[Samples, PromptScores | None]:
    samples: Samples = {}
    scores = None
    async for event in engine.sampler.sample(request):
        tokens, logprobs = samples.setdefault(event.index, ([], []))
        tokens.extend(event.tokens)
        logprobs.extend(event.logprobs)
        scores = scores or event.prompt
    return samples, scores


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).randrange(300) for _ in range(length))


async def train_a_little(engine: TorchEngine, folder: Path) -> None:
    await engine.trainer.create(RUN, LoraSpec(rank=4, seed=1))
    tokens = prompt(7, 30)
    datum = Datum(tokens[:-1], {"target_tokens": ints(tokens[1:]), "weights": floats([1.0] * 29)})
    for _ in range(5):
        await engine.trainer.run([Pass(RUN, (datum,), "cross_entropy")])
        await engine.trainer.step(RUN, OptimParams(learning_rate=1e-2))
    await engine.trainer.save(RUN, folder, optimizer=False)
    await engine.sampler.attach(SPOKEN, folder)


async def test_sampler_and_trainer_agree(engine: TorchEngine, tmp_path: Path) -> None:
    await train_a_little(engine, tmp_path)
    mixed = [
        SampleRequest(prompt(1, 40), SamplingParams(12, seed=5), adapter=SPOKEN, n=3, prompt_logprobs=True),
        SampleRequest(prompt(1, 40), SamplingParams(9, seed=6), n=2),
        SampleRequest(prompt(2, 70), SamplingParams(20, temperature=0), adapter=SPOKEN, prompt_logprobs=True),
        SampleRequest(prompt(1, 40)[:25] + prompt(3, 5), SamplingParams(30, seed=7), adapter=SPOKEN),
    ]
    answers = await asyncio.gather(*(collect(engine, request) for request in mixed))
    for request, (samples, scores) in zip(mixed, answers, strict=True):
        if request.adapter is None:
            continue
        for tokens, logprobs in samples.values():
            full = (*request.prompt, *tokens)
            datum = Datum(full[:-1], {"target_tokens": ints(full[1:]), "weights": floats([0.0] * (len(full) - 1))})
            (result,) = await engine.trainer.run([Pass(RUN, (datum,), "cross_entropy", backward=False)])
            trained = result.logprobs[0].tolist()
            assert trained[len(request.prompt) - 1 :] == pytest.approx(logprobs, abs=1e-4)
            if scores:
                assert scores.logprobs[1:] == pytest.approx(trained[: len(request.prompt) - 1], abs=1e-4)


async def test_company_changes_nothing(engine: TorchEngine) -> None:
    alone, _ = await collect(engine, SampleRequest(prompt(1, 30), SamplingParams(25, seed=3, top_p=0.9), n=2))
    crowd = [SampleRequest(prompt(9 + i, 10 + i), SamplingParams(5 + i, seed=i)) for i in range(9)]
    request = SampleRequest(prompt(1, 30), SamplingParams(25, seed=3, top_p=0.9), n=2)
    (together, _), *_ = await asyncio.gather(collect(engine, request), *(collect(engine, one) for one in crowd))
    assert [alone[i][0] for i in (0, 1)] == [together[i][0] for i in (0, 1)]
    assert alone[0][0] != alone[1][0]
    split, _ = await collect(engine, SampleRequest(request.prompt, request.params, first_index=1))
    assert split[1][0] == alone[1][0]


async def test_draws_follow_the_distribution(engine: TorchEngine) -> None:
    """2,000 draws of one token against the model's own probabilities (total variation), and inside top-k."""
    request = SampleRequest(prompt(4, 12), SamplingParams(1, temperature=0.15, seed=1), n=2000, top_logprobs=300)
    counts = [0] * 300
    likely: dict[int, float] = {}
    async for event in engine.sampler.sample(request):
        counts[event.tokens[0]] += 1
        likely = dict(event.top[0])
    distance = sum(abs(counts[token] / 2000 - math.exp(logprob)) for token, logprob in likely.items()) / 2
    noise = sum((math.exp(lp) * (1 - math.exp(lp)) / 2000) ** 0.5 for lp in likely.values()) / 2
    assert distance < 2 * noise + 0.01
    best = sorted(likely, key=lambda token: -likely[token])[:3]
    cut = SampleRequest(request.prompt, SamplingParams(1, temperature=1, top_k=3, seed=2), n=300)
    drawn = {event.tokens[0] async for event in engine.sampler.sample(cut)}
    assert drawn == set(best)


def heard(sampling: Sampling, requests: list[SampleRequest]) -> list[list[Sampled]]:
    """Every event of each request."""
    events: list[list[Sampled]] = [[] for _ in requests]

    def emit(place: int, event: Sampled | Exception) -> None:
        assert isinstance(event, Sampled)
        events[place].append(event)

    for place, request in enumerate(requests):
        voices = [Voice(request, index, 1, None, partial(emit, place)) for index in range(request.n)]
        sampling.add(voices)
    while sampling.busy:
        sampling.step()
    return events


def test_a_shared_beginning_is_counted_for_whoever_did_not_pay(engine: TorchEngine) -> None:
    long = prompt(1, 60)
    one = SamplingParams(1, seed=1)
    requests = [
        SampleRequest(long, one, n=3),
        SampleRequest(long, one),
        SampleRequest((*long[:40], 299, 298), one),
        SampleRequest(prompt(2, 50), one),
    ]
    sampling = Sampling(engine.model)
    cached = [[event.cached for event in events] for events in heard(sampling, requests)]
    assert cached == [[0, 0, 0], [60], [32], [0]], "40 tokens alike are two full pages"
    assert heard(sampling, [requests[3]])[0][0].cached == 48, "pages are kept while there is room"
    theirs = replace(requests[3], tenant="other")
    assert heard(sampling, [theirs])[0][0].cached == 0, "another tenant could time what was asked here"


def test_scoring_a_prompt_is_one_prefill(engine: TorchEngine) -> None:
    sampling = Sampling(engine.model)
    [[event]] = heard(sampling, [SampleRequest(prompt(1, 60), SamplingParams(1), prompt_logprobs=True)])
    assert event.prompt is not None
    assert event.stop_reason == "length"
    assert not sampling.busy


def test_what_is_not_scored_of_a_prompt_may_come_from_the_cache(engine: TorchEngine) -> None:
    long, params = prompt(1, 60), SamplingParams(1, seed=1)
    whole = SampleRequest(long, params, prompt_logprobs=True, top_prompt_logprobs=3)
    requests = [
        replace(whole, prompt_last=10),
        replace(whole, prompt=(*long[:59], 299), prompt_last=30),
        SampleRequest(long[:50], params),
        replace(whole, prompt=(*long[:59], 298)),
    ]
    together = [events[0] for events in heard(Sampling(engine.model), requests)]
    assert [event.cached for event in together] == [0, 16, 48, 0]
    for request, event in zip(requests, together, strict=True):
        [[alone]] = heard(Sampling(engine.model), [request])
        assert event.tokens == alone.tokens
        if request.scores_prompt:
            assert event.prompt is not None and alone.prompt is not None
            known = request.prompt_last or 59
            assert event.prompt.logprobs[:-known] == alone.prompt.logprobs[:-known]
            assert event.prompt.logprobs[-known:] == pytest.approx(alone.prompt.logprobs[-known:], abs=1e-4)
            likely = [[[token for token, _ in top or ()] for top in one.prompt.top] for one in (event, alone)]
            assert likely[0] == likely[1]


async def test_closing_a_stream_frees_its_row(engine: TorchEngine) -> None:
    stream = engine.sampler.sample(SampleRequest(prompt(1, 10), SamplingParams(200, seed=1), n=4))
    await anext(stream)
    assert engine.sampling.busy
    await stream.aclose()
    async with asyncio.timeout(5):
        while engine.sampling.busy:  # noqa: ASYNC110 - the owner thread has no event of ours
            await asyncio.sleep(0.01)


async def test_sampling_goes_on_while_training(engine: TorchEngine, tmp_path: Path) -> None:
    await train_a_little(engine, tmp_path)
    tokens = prompt(1, 200)
    datum = Datum(tokens[:-1], {"target_tokens": ints(tokens[1:]), "weights": floats([1.0] * 199)})
    different = tuple(Datum((i, *datum.tokens[1:]), datum.inputs) for i in range(60))
    work = asyncio.create_task(engine.trainer.run([Pass(RUN, different, "cross_entropy")]))
    await asyncio.sleep(0.05)
    await collect(engine, SampleRequest(prompt(2, 10), SamplingParams(5, seed=1)))
    assert not work.done(), "the reply had to wait for the whole pass"
    (result,) = await work
    assert result.failure is None


async def test_bad_requests_are_refused(engine: TorchEngine) -> None:
    for request in (
        SampleRequest((), SamplingParams(3)),
        SampleRequest((300,), SamplingParams(3)),
        SampleRequest((1,) * 256, SamplingParams(3)),
        SampleRequest((1,), SamplingParams(0)),
    ):
        with pytest.raises(BadInput):
            await collect(engine, request)


def test_a_tenant_that_comes_late_is_not_behind_the_backlog_of_another(engine: TorchEngine) -> None:
    """Counted in steps of the engine, of which a lone request takes 1 to prefill and 19 to decode."""
    sampling, order = Sampling(engine.model), list[str]()

    def voice(tenant: str, number: int) -> Voice:
        request = SampleRequest(prompt(number, 12), SamplingParams(20, seed=number), tenant=tenant)

        def emit(event: Sampled | Exception) -> None:
            assert isinstance(event, Sampled)
            if event.stop_reason:
                order.append(tenant)

        return Voice(request, 0, number, None, emit)

    sampling.add([voice("greedy", number) for number in range(400)])
    for _ in range(5):
        sampling.step()
    sampling._turns.charge("greedy", 10_000)
    sampling.add([voice("modest", 1000)])
    steps = 0
    while "modest" not in order:
        sampling.step()
        steps += 1
    assert steps == 20
    while sampling.busy:
        sampling.step()
    assert order.count("greedy") == 400


def test_rows_that_wait_go_on_as_if_they_had_not(engine: TorchEngine) -> None:
    def play(crowd: int) -> list[tuple[int, ...]]:
        sampling = Sampling(engine.model)
        told: list[list[int]] = [[] for _ in range(6)]

        def voice(number: int, tenant: str, heard: list[int]) -> Voice:
            request = SampleRequest(prompt(number, 20), SamplingParams(15, seed=number), tenant=tenant)
            return Voice(request, 0, number, None, lambda event: heard.extend(getattr(event, "tokens", ())))

        sampling.add([voice(number, "greedy", heard) for number, heard in enumerate(told)])
        for _ in range(4):
            sampling.step()
        if crowd:
            sampling._turns.charge("greedy", 10_000)
            sampling.add([voice(90 + number, "modest", []) for number in range(crowd)])
        while sampling.busy:
            sampling.step()
        return [tuple(tokens) for tokens in told]

    assert play(0) == play(1) == play(2)


def test_prompts_that_never_cease_hold_up_no_row(engine: TorchEngine) -> None:
    """Clients that ask again as soon as they are answered, and each time for one token: turns of a game, say."""
    sampling = Sampling(engine.model)

    def ask(number: int, tokens: int) -> list[int]:
        told: list[int] = []
        request = SampleRequest(prompt(number, 12), SamplingParams(tokens, seed=number))
        sampling.add([Voice(request, 0, number, None, lambda event: told.extend(getattr(event, "tokens", ())))])
        return told

    long = ask(0, 20)
    short: list[list[int]] = []
    for number in range(1, 50):
        short.append(ask(number, 1))
        sampling.step()
    assert len(long) == 20
    assert sum(map(len, short)) >= 24, "and neither do rows hold up prompts"


def spoken(sampling: Sampling, requests: list[SampleRequest]) -> list[list[int]]:
    return [[token for event in events for token in event.tokens] for events in heard(sampling, requests)]


def test_a_cache_that_is_too_small_costs_time_and_changes_nothing(engine: TorchEngine) -> None:
    """Rows are sent back when it is full and read again later, those of a lower class first."""
    requests = [
        SampleRequest(prompt(number, 40), SamplingParams(70, seed=number), priority="rollout") for number in range(6)
    ]
    requests.append(SampleRequest(prompt(9, 30), SamplingParams(60, seed=9)))
    config = engine.model.config
    page = 2 * 16 * config.layers * config.kv_width * 4
    free = spoken(Sampling(engine.model), requests)
    assert [len(tokens) for tokens in free] == [70] * 6 + [60]
    for pages in (60, 24, 9):
        assert spoken(Sampling(engine.model, cache_bytes=pages * page), requests) == free


def test_a_sequence_ends_where_the_cache_does(engine: TorchEngine) -> None:
    config = engine.model.config
    small = Sampling(engine.model, cache_bytes=4 * 2 * 16 * config.layers * config.kv_width * 4)
    assert small.capacity == 64
    [events] = heard(small, [SampleRequest(prompt(1, 40), SamplingParams(90, seed=1))])
    assert events[-1].stop_reason == "length"
    assert sum(len(event.tokens) for event in events) == 25, "the 64 in the cache and the one drawn last"


def test_a_long_prompt_does_not_stall_a_chat(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    sampling, sizes = Sampling(engine.model), list[int]()
    hidden = engine.model.hidden

    def counted(tokens: Any, *rest: Any) -> Any:
        sizes.append(len(tokens))
        return hidden(tokens, *rest)

    monkeypatch.setattr(engine.model, "hidden", counted)
    told: list[int] = []

    def voice(number: int, length: int, heard: list[int]) -> Voice:
        request = SampleRequest(prompt(number, length), SamplingParams(30, seed=1))
        return Voice(request, 0, 1, None, lambda event: heard.extend(getattr(event, "tokens", ())))

    sampling.add([voice(1, 5, told)])
    sampling.step()
    sampling.add([voice(2, 200, [])])
    sizes.clear()
    for _ in range(7):
        sampling.step()
    assert len(told) == 8, "a token at every step"
    assert sizes == [33] * 6 + [9]


def test_samples_of_one_prompt_are_read_once(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    sampling, sizes = Sampling(engine.model), list[int]()
    hidden = engine.model.hidden

    def counted(tokens: Any, *rest: Any) -> Any:
        sizes.append(len(tokens))
        return hidden(tokens, *rest)

    monkeypatch.setattr(engine.model, "hidden", counted)
    request = SampleRequest(prompt(1, 50), SamplingParams(3, seed=1), n=8)
    first = spoken(sampling, [request])
    assert sizes == [50, 8, 8]
    sizes.clear()
    assert spoken(sampling, [request]) == first
    assert sizes == [2, 8, 8], "three full pages are still there"


async def test_a_chat_goes_on_within_a_training_pass(engine: TorchEngine) -> None:
    """One micro-batch, so nothing but its breaks lets the words through."""
    await engine.trainer.create(RUN, LoraSpec(rank=4, seed=1))
    order: list[str] = []
    learn, sample = engine._advance, engine.sampling.step

    def advance() -> None:
        order.append("begin")
        learn()
        order.append("end")

    def step() -> None:
        order.append("word")
        sample()

    engine._advance, engine.sampling.step = advance, step  # pyright: ignore[reportAttributeAccessIssue]
    tokens = prompt(1, 200)
    datum = Datum(tokens[:-1], {"target_tokens": ints(tokens[1:]), "weights": floats([1.0] * 199)})
    stream = engine.sampler.sample(SampleRequest(prompt(2, 10), SamplingParams(200, seed=1)))
    await anext(stream)
    (result,) = await engine.trainer.run([Pass(RUN, (datum,), "cross_entropy")])
    await stream.aclose()
    assert result.failure is None
    within = order[order.index("begin") : order.index("end")]
    assert within.count("word") >= 2 * engine.model.config.layers, "one before each layer, forward and backward"
