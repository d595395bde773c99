"""Bent samples among others in a batch: sent back, failing, on either path, and never at the cost of the others."""

import asyncio
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_model import write_model
from tiny_llama import write_llama

from anubhav.backends.bending import bends
from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.kernels import native
from anubhav.backends.torch.sampling import bending
from anubhav.backends.torch.sampling.sampler import Sampling
from anubhav.backends.torch.sampling.voices import Voice
from anubhav.errors import BadInput
from anubhav.grammars import holding
from anubhav.types.sampling import Grammar, Sampled, SampleRequest, SamplingParams

PROMPT = tuple(range(40, 70))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bent") / "tiny"
    write_model(folder)
    write_llama(folder, vocab=300, context=256)
    return folder


@pytest.fixture
def engine(folder: Path) -> Any:
    engine = TorchEngine(folder)
    yield engine
    engine.close()


def ask(**params: Any) -> SampleRequest:
    return SampleRequest(PROMPT, SamplingParams(**{"max_tokens": 40, "seed": 1, **params}))


async def collect(engine: TorchEngine, request: SampleRequest) -> list[Sampled]:
    return [event async for event in engine.sampler.sample(request)]


def said(events: list[Sampled]) -> list[int]:
    return [token for event in events for token in event.tokens]


def heard(sampling: Sampling, folder: Path, requests: list[SampleRequest]) -> list[list[int]]:
    """The tokens of each request's first sample, all of them at once."""
    found: list[list[int]] = [[] for _ in requests]

    def emit(place: int, event: Sampled | Exception) -> None:
        assert isinstance(event, Sampled)
        found[place] += event.tokens

    for place, request in enumerate(requests):
        (bend,) = asyncio.run(bends(request.params, folder, 1))
        sampling.add([Voice(request, 0, 1, None, partial(emit, place), bend)])
    while sampling.busy:
        sampling.step()
    return found


def test_a_sample_that_was_sent_back_goes_on_in_its_grammar(engine: TorchEngine, folder: Path) -> None:
    """The cache has room for one and a half of them, so they take turns in it."""
    form = Grammar("regex", "[a-d]{30}(x|y){8}")
    requests = [
        replace(ask(grammar=form, stop_tokens=(1,), presence_penalty=0.5, seed=seed), prompt=(seed, *PROMPT[1:]))
        for seed in range(4)
    ]
    roomy = Sampling(engine.model)
    alone = [heard(roomy, folder, [request])[0] for request in requests]
    config = engine.model.config
    page = 2 * config.layers * config.kv_heads * config.head_dim * 4 * 16
    tight = Sampling(engine.model, cache_bytes=7 * page)
    backs = 0
    send_back = tight._send_back

    def counted(*args: Any) -> None:
        nonlocal backs
        backs += 1
        send_back(*args)

    tight._send_back = counted  # type: ignore[method-assign]
    assert heard(tight, folder, requests) == alone
    assert backs > 0
    assert all(len(one) == 39 and one[-1] == 1 for one in alone)


@pytest.mark.skipif(native.library() is None, reason="no native kernels here")
async def test_the_native_and_the_plain_path_bend_alike(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask(grammar=Grammar("regex", "[a-t ]{30}"), frequency_penalty=1.0, logit_bias=((60, 2.0),))
    fast = await collect(engine, request)
    monkeypatch.setattr(native, "fits", lambda *_: False)
    plain = await collect(engine, request)
    assert said(fast) == said(plain)
    logprobs = [[one for event in events for one in event.logprobs] for events in (fast, plain)]
    assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-5)


async def test_who_is_not_bent_is_drawn_for_as_before(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No logits are copied, changed or drawn from again for a batch in which nothing is bent."""

    def touched(*_: Any) -> None:
        raise AssertionError("a plain batch was bent")

    monkeypatch.setattr(bending, "_bend", touched)
    monkeypatch.setattr(bending, "speak", touched)
    assert len(said(await collect(engine, ask()))) == 40


async def test_company_that_is_bent_changes_nothing_for_others(engine: TorchEngine) -> None:
    alone = await collect(engine, ask(seed=7))
    bent = [ask(seed=seed, grammar=Grammar("regex", "[ab]*"), logit_bias=((5, 9.0),)) for seed in range(5)]
    together, *_ = await asyncio.gather(collect(engine, ask(seed=7)), *(collect(engine, one) for one in bent))
    assert said(together) == said(alone)
    assert [event.logprobs for event in together] == [pytest.approx(event.logprobs, abs=1e-5) for event in alone]


async def test_a_grammar_that_fails_ends_its_own_sample_alone(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = holding.Held.mask

    def failing(self: holding.Held, tokens: Any, size: int) -> bytearray:
        if len(tokens) == 5:
            raise BadInput("too much work")
        return follow(self, tokens, size)

    monkeypatch.setattr(holding.Held, "mask", failing)
    results = await asyncio.gather(
        collect(engine, ask(seed=7)),
        collect(engine, ask(grammar=Grammar("regex", "[a-d]*"))),
        return_exceptions=True,
    )
    assert isinstance(results[1], BadInput)
    assert isinstance(results[0], list)
    assert len(said(results[0])) == 40
    monkeypatch.undo()
    assert said(await collect(engine, ask(seed=7))) == said(results[0])


async def test_a_grammar_is_made_outside_of_the_engines_thread(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample is whole while the grammar of another one takes as long as it does."""
    make, whole, waited = holding.hold, threading.Event(), list[bool]()

    def slow(*args: Any) -> holding.Held:
        waited.append(whole.wait(60))
        return make(*args)

    monkeypatch.setattr("anubhav.backends.bending.hold", slow)
    held = asyncio.create_task(collect(engine, ask(grammar=Grammar("regex", "[a-d]{3}"), stop_tokens=(1,))))
    await asyncio.sleep(0)
    assert len(said(await collect(engine, ask()))) == 40
    whole.set()
    assert len(said(await held)) == 4
    assert waited == [True]


def test_rounding_never_draws_what_is_masked() -> None:
    logits = torch.full((2, 6), float("-inf"))
    logits[0, 2], logits[1, 4] = 1.0, 0.0
    assert bending._possible(logits, [5, 4]).tolist() == [2, 4]
