"""What every sampler does, and that it agrees with the trainer beside it."""

import asyncio
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from fillers import CONTEXT, VOCAB, Filler, made

from anubhav.errors import BadInput, NotFound
from anubhav.ports import Sampler
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import PromptScores, Sampled, SampleRequest, SamplingParams, TopLogprobs
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

PUPIL, PROMPT = AdapterId("ad_pupil"), (3, 7, 11)


@dataclass(slots=True)
class Heard:
    tokens: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    top: list[TopLogprobs] = field(default_factory=list[TopLogprobs])
    stop_reason: str | None = None


def ask(prompt: tuple[int, ...] = PROMPT, *, n: int = 1, **params: Any) -> SampleRequest:
    return SampleRequest(prompt, SamplingParams(**{"max_tokens": 8, **params}), n=n)


async def hear(sampler: Sampler, request: SampleRequest) -> tuple[dict[int, Heard], PromptScores | None]:
    """Every sample by its index, and the prompt's scores."""
    found: dict[int, Heard] = {}
    scores = None
    async for event in sampler.sample(request):
        heard = found.setdefault(event.index, Heard())
        assert heard.stop_reason is None, "an event after the last one"
        heard.tokens.extend(event.tokens)
        heard.logprobs.extend(event.logprobs)
        heard.top.extend(event.top)
        heard.stop_reason = event.stop_reason
        scores = scores or event.prompt
    return found, scores


async def tokens(sampler: Sampler, request: SampleRequest) -> list[list[int]]:
    found, _ = await hear(sampler, request)
    return [heard.tokens for _, heard in sorted(found.items())]


async def forward(filler: Filler, adapter: AdapterId, sequence: tuple[int, ...]) -> list[float]:
    """The trainer's log-probabilities of tokens 1 … of a sequence."""
    inputs = {"target_tokens": ints(sequence[1:]), "weights": floats([1.0] * (len(sequence) - 1))}
    work = Pass(adapter, (Datum(sequence[:-1], inputs),), "cross_entropy", backward=False)
    (result,) = await filler.trainer.run([work])
    return [float(value) for value in result.logprobs[0].tolist()]


async def teach(filler: Filler, folder: Path, sequence: tuple[int, ...] = (3, 7, 11, 5, 9, 2), steps: int = 20) -> None:
    """Train an adapter, save it to `folder` and attach it."""
    inputs = {"target_tokens": ints(sequence[1:]), "weights": floats([1.0] * (len(sequence) - 1))}
    await filler.trainer.create(PUPIL, LoraSpec(rank=16))
    for _ in range(steps):
        await filler.trainer.run([Pass(PUPIL, (Datum(sequence[:-1], inputs),), "cross_entropy")])
        # Twice as much and the tiny models go round and round: what they say then depends on the last bit of a sum.
        await filler.trainer.step(PUPIL, OptimParams(learning_rate=0.01))
    await filler.trainer.save(PUPIL, made(folder), optimizer=False)
    await filler.sampler.attach(PUPIL, folder)


async def becomes(filler: Filler, *, busy: bool) -> None:
    """Within a second no sample holds a slot, or one does: vLLM counts a little after it speaks."""
    for _ in range(1000):
        if filler.busy() == busy:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"a slot is {'free' if busy else 'taken'} still")


async def test_greedy_is_deterministic_and_likeliest(sampler: Sampler) -> None:
    request = replace(ask(temperature=0.0), top_logprobs=3)
    found, _ = await hear(sampler, request)
    assert len(found[0].tokens) == 8
    assert [top[0][0] for top in found[0].top] == found[0].tokens
    assert [top[0][1] for top in found[0].top] == pytest.approx(found[0].logprobs, abs=1e-5)
    assert all(len(top) == 3 and top[0][1] >= top[1][1] >= top[2][1] for top in found[0].top)
    assert await tokens(sampler, request) == [found[0].tokens]


async def test_a_seed_fixes_the_samples_whatever_the_batch(sampler: Sampler) -> None:
    request = ask(n=3, seed=5)
    alone = await tokens(sampler, request)
    mates = [ask((5, 6), seed=9, max_tokens=20), ask(PROMPT, n=4, max_tokens=12), ask((1,), temperature=0.0)]
    together = await asyncio.gather(*(tokens(sampler, one) for one in (request, *mates)))
    assert together[0] == alone
    parts = [replace(request, n=1, first_index=index) for index in range(3)]
    assert [(await tokens(sampler, part))[0] for part in parts] == alone


async def test_samples_differ_by_index_by_seed_and_without_a_seed(sampler: Sampler) -> None:
    four = await tokens(sampler, ask(n=4, seed=1))
    assert len({tuple(one) for one in four}) == 4
    assert await tokens(sampler, ask(seed=2)) != four[:1]
    assert await tokens(sampler, ask()) != await tokens(sampler, ask())


async def test_a_stop_token_ends_a_sample_and_is_part_of_it(sampler: Sampler) -> None:
    [free] = await tokens(sampler, ask(seed=3))
    stop = free[4]
    found, _ = await hear(sampler, ask(seed=3, stop_tokens=(stop,)))
    assert found[0].tokens == free[: free.index(stop) + 1]
    assert found[0].stop_reason == "stop"


async def test_length_ends_a_sample(sampler: Sampler) -> None:
    found, _ = await hear(sampler, ask(seed=3, max_tokens=5))
    assert (len(found[0].tokens), found[0].stop_reason) == (5, "length")
    long = tuple(index % VOCAB for index in range(CONTEXT - 3))
    found, _ = await hear(sampler, ask(long, seed=3, max_tokens=50))
    assert (len(found[0].tokens), found[0].stop_reason) == (3, "length")


async def test_top_k_and_top_p_keep_the_likeliest(sampler: Sampler) -> None:
    greedy = await tokens(sampler, ask(temperature=0.0))
    assert await tokens(sampler, ask(seed=1, top_k=1)) == greedy
    assert await tokens(sampler, ask(seed=1, top_p=1e-9)) == greedy
    found, _ = await hear(sampler, replace(ask(seed=1, n=20, top_k=3, max_tokens=1), top_logprobs=3))
    kept = {token for token, _ in found[0].top[0]}
    assert {heard.tokens[0] for heard in found.values()} <= kept
    assert len({heard.tokens[0] for heard in found.values()}) > 1


async def test_samples_follow_the_distribution(sampler: Sampler) -> None:
    """The likeliest token comes as often as its probability says, within four standard errors."""
    count = 400
    found, _ = await hear(sampler, replace(ask(seed=11, n=count, max_tokens=1), top_logprobs=1))
    [(token, logprob)] = found[0].top[0]
    share = sum(heard.tokens[0] == token for heard in found.values()) / count
    wanted = math.exp(logprob)
    assert abs(share - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / count)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
async def test_logprobs_are_the_trainers_scaled_by_temperature(
    filler: Filler, tmp_path: Path, temperature: float
) -> None:
    await teach(filler, tmp_path / "saved")
    request = replace(ask(seed=4, temperature=temperature), adapter=PUPIL, top_logprobs=VOCAB)
    found, _ = await hear(filler.sampler, request)
    said = found[0]
    wanted = await forward(filler, PUPIL, PROMPT + tuple(said.tokens))
    if temperature == 1:
        assert said.logprobs == pytest.approx(wanted[len(PROMPT) - 1 :], abs=1e-4)
    for token, logprob, top in zip(said.tokens, said.logprobs, said.top, strict=True):
        assert math.fsum(math.exp(value) for _, value in top) == pytest.approx(1, abs=1e-4)
        assert dict(top)[token] == pytest.approx(logprob, abs=1e-5)


async def test_what_was_learned_is_said(filler: Filler, tmp_path: Path) -> None:
    await teach(filler, tmp_path / "saved", steps=60)
    greedy = ask(temperature=0.0, max_tokens=3)
    assert await tokens(filler.sampler, replace(greedy, adapter=PUPIL)) == [[5, 9, 2]]
    assert await tokens(filler.sampler, greedy) != [[5, 9, 2]]


async def test_prompt_logprobs_are_those_of_a_forward_pass(filler: Filler, tmp_path: Path) -> None:
    await teach(filler, tmp_path / "saved")
    prompt = (3, 7, 11, 5, 30, 2)
    request = replace(ask(prompt), adapter=PUPIL, prompt_logprobs=True, top_prompt_logprobs=2)
    _, scores = await hear(filler.sampler, request)
    assert scores is not None
    assert scores.logprobs[0] is None
    wanted = await forward(filler, PUPIL, prompt)
    assert list(scores.logprobs[1:]) == pytest.approx(wanted, abs=1e-4)
    assert scores.top[0] is None
    for logprob, top in zip(wanted, scores.top[1:], strict=True):
        assert top is not None
        assert top[0][1] >= top[1][1]
        assert logprob <= top[0][1] + 1e-4


async def test_the_end_of_a_prompt_can_be_scored_alone(filler: Filler) -> None:
    prompt = (3, 7, 11, 5, 30, 2)
    whole = replace(ask(prompt), prompt_logprobs=True, top_prompt_logprobs=2)
    _, all_of_it = await hear(filler.sampler, whole)
    _, end = await hear(filler.sampler, replace(whole, prompt_last=2))
    assert all_of_it is not None
    assert end is not None
    assert end.logprobs == (None, None, None, None, *(pytest.approx(x, abs=1e-5) for x in all_of_it.logprobs[4:]))
    assert [top is None for top in end.top] == [True] * 4 + [False] * 2
    assert [token for token, _ in end.top[5] or ()] == [token for token, _ in all_of_it.top[5] or ()]
    assert (end.targets, end.draws) == ((), ())


async def test_any_token_can_be_scored_along_a_prompt(filler: Filler, tmp_path: Path) -> None:
    await teach(filler, tmp_path / "saved")
    prompt = (3, 7, 11, 5, 30, 2)
    targets = ((1, 7), (5, 40), (1, 0), (3, 47), (5, 40))
    _, scores = await hear(filler.sampler, replace(ask(prompt), adapter=PUPIL, prompt_targets=targets))
    assert scores is not None
    wanted = [(await forward(filler, PUPIL, (*prompt[:place], token)))[-1] for place, token in targets]
    assert list(scores.targets) == pytest.approx(wanted, abs=1e-4)
    assert (scores.logprobs, scores.top) == ((), ())


async def test_draws_along_a_prompt_follow_its_distributions(sampler: Sampler) -> None:
    count, temperature = 300, 0.5
    request = replace(ask((3, 7, 11), seed=4, temperature=temperature, max_tokens=1), prompt_draws=count)
    _, scores = await hear(sampler, request)
    everything = tuple((place, token) for place in (1, 2) for token in range(VOCAB))
    _, truth = await hear(sampler, replace(request, prompt_targets=everything, prompt_draws=0))
    assert scores is not None
    assert truth is not None
    assert [len(row) for row in scores.draws] == [count, count]
    for place, row in enumerate(scores.draws):
        logprobs = truth.targets[place * VOCAB : (place + 1) * VOCAB]
        assert [logprob for _, logprob in row] == pytest.approx([logprobs[token] for token, _ in row], abs=1e-4)
        weights = [math.exp(logprob / temperature) for logprob in logprobs]
        best = max(range(VOCAB), key=lambda token: weights[token])
        wanted = weights[best] / math.fsum(weights)
        share = sum(token == best for token, _ in row) / count
        assert abs(share - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / count)
    again, _ = await asyncio.gather(hear(sampler, request), hear(sampler, ask((3, 7, 9), n=4)))
    assert again[1] is not None
    assert [[token for token, _ in row] for row in again[1].draws] == [[t for t, _ in row] for row in scores.draws]
    _, greedy = await hear(sampler, replace(ask((3, 7, 11), temperature=0.0), prompt_draws=2, prompt_targets=((1, 7),)))
    assert greedy is not None
    assert all(row[0] == row[1] for row in greedy.draws)


async def test_a_single_token_prompt_has_nothing_to_score(sampler: Sampler) -> None:
    _, scores = await hear(sampler, replace(ask((3,)), prompt_logprobs=True, top_prompt_logprobs=2, prompt_draws=3))
    assert scores == PromptScores((None,), (None,), (), ())


async def test_one_token_is_one_event(sampler: Sampler) -> None:
    request = replace(ask(n=2, max_tokens=1), prompt_logprobs=True)
    events = [event async for event in sampler.sample(request)]
    assert [(event.index, len(event.tokens), event.stop_reason) for event in events] == [
        (0, 1, "length"),
        (1, 1, "length"),
    ]
    assert [event.prompt is None for event in events] == [False, True]


async def test_adapters_mix_in_one_batch(filler: Filler, tmp_path: Path) -> None:
    await teach(filler, tmp_path / "saved", steps=60)
    requests = [replace(ask(seed=seed), adapter=adapter) for seed in (1, 2) for adapter in (None, PUPIL)]
    alone = [await tokens(filler.sampler, request) for request in requests]
    assert await asyncio.gather(*(tokens(filler.sampler, request) for request in requests)) == alone
    assert alone[0] != alone[1]


async def test_closing_frees_the_slots(filler: Filler) -> None:
    stream = cast(AsyncGenerator[Sampled], filler.sampler.sample(ask(n=3000, max_tokens=CONTEXT - len(PROMPT))))
    await anext(stream)
    await becomes(filler, busy=True)
    await stream.aclose()
    await becomes(filler, busy=False)


async def test_finished_samples_free_their_slots(filler: Filler) -> None:
    await tokens(filler.sampler, ask(n=3, max_tokens=2))
    await becomes(filler, busy=False)


async def test_a_detached_adapter_is_unknown(filler: Filler, tmp_path: Path) -> None:
    await teach(filler, tmp_path / "saved")
    await filler.sampler.attach(PUPIL, tmp_path / "saved")
    request = replace(ask(seed=1), adapter=PUPIL)
    stream = cast(AsyncGenerator[Sampled], filler.sampler.sample(request))
    first = await anext(stream)
    await filler.sampler.detach(PUPIL)
    await filler.sampler.detach(PUPIL)
    rest = [token async for event in stream for token in event.tokens]
    assert len(first.tokens) + len(rest) == 8
    with pytest.raises(NotFound):
        await tokens(filler.sampler, request)


@pytest.mark.parametrize(
    "request_",
    [
        ask(()),
        ask((VOCAB,)),
        ask((-1,)),
        ask((1,) * CONTEXT),
        ask(max_tokens=0),
        ask(n=0),
    ],
    ids=["empty", "token", "negative", "long", "no tokens", "no samples"],
)
async def test_what_cannot_be_sampled_is_refused(sampler: Sampler, request_: SampleRequest) -> None:
    with pytest.raises(BadInput):
        await tokens(sampler, request_)
