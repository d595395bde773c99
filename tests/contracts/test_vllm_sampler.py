"""The sampler's contract once more, over a real vLLM server: minutes, and only where its environment was made."""

import asyncio
import math
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import torch
from fillers import CONTEXT, VOCAB, Filler, made
from test_bending import (  # noqa: F401 - those without a grammar, which vLLM refuses
    test_a_bias_forbids_tokens,
    test_a_bias_forces_a_token,
    test_a_penalty_counts_what_was_said_and_not_the_prompt,
    test_a_small_bias_changes_the_odds_by_its_exponential,
    test_at_any_temperature_it_is_the_models_own,
    test_penalties_change_repetition,
)
from test_sampler import *  # noqa: F403 - the very same tests
from test_sampler import PROMPT, PUPIL, ask, forward, hear
from transformers import LlamaConfig, LlamaForCausalLM

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.vllm.environment import find_environment
from anubhav.backends.vllm.launch import Options, socket_of
from anubhav.backends.vllm.sampler import VllmSampler
from anubhav.errors import Unavailable
from anubhav.ports import Sampler
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not find_environment().ready, reason="vLLM has no environment here: anubhav setup vllm"),
]


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the contract's tiny Llama, but for heads of 32: vLLM knows no smaller ones."""
    folder = tmp_path_factory.mktemp("contract-vllm")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=96,
        intermediate_size=112,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.2,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vllm(small_model: Path) -> Iterator[VllmSampler]:
    with closing(VllmSampler(small_model, Options(rows=32, adapters=2, rank=16, cache_gib=1))) as sampler:
        yield sampler


@pytest.fixture
async def filler(vllm: VllmSampler, small_model: Path) -> AsyncIterator[Filler]:
    with closing(TorchEngine(small_model)) as engine:
        yield Filler(engine.trainer, vllm, lambda: busy(vllm), engine.reader)
    await vllm.detach(PUPIL)


VOICES = (AdapterId("ad_x"), AdapterId("ad_y"), AdapterId("ad_z"))
PLAIN = AdapterId("ad_plain")
"""Never trained: the base model, for the trainer."""


@pytest.fixture
async def voices(filler: Filler, tmp_path: Path) -> AsyncIterator[tuple[AdapterId, ...]]:
    """More adapters than the server has places for, each taught something else."""
    await filler.trainer.create(PLAIN, LoraSpec(rank=4))
    for number, voice in enumerate(VOICES):
        sequence = (3, 7, 11, 5 + number, 20 + number)
        inputs = {"target_tokens": ints(sequence[1:]), "weights": floats([1.0] * 4)}
        await filler.trainer.create(voice, LoraSpec(rank=4, seed=number))
        for _ in range(5):
            await filler.trainer.run([Pass(voice, (Datum(sequence[:-1], inputs),), "cross_entropy")])
            await filler.trainer.step(voice, OptimParams(learning_rate=0.02))
        await filler.trainer.save(voice, made(tmp_path / voice), optimizer=False)
        await filler.sampler.attach(voice, tmp_path / voice)
    yield VOICES
    for voice in VOICES:
        await filler.sampler.detach(voice)


async def test_everybody_keeps_its_own_voice_when_every_place_is_taken(
    filler: Filler, voices: tuple[AdapterId, ...]
) -> None:
    """Prompts scored all at once, which ends vLLM as it is, and the base model among them, which it confuses."""
    everybody = (None, *voices)
    requests = [replace(ask(seed=2, n=3), adapter=adapter, prompt_logprobs=True) for adapter in everybody]
    await asyncio.gather(*(hear(filler.sampler, request) for request in requests))
    heard = await asyncio.gather(*(hear(filler.sampler, request) for request in requests))
    for adapter, (found, scores) in zip(everybody, heard, strict=True):
        assert scores is not None
        for said in found.values():
            wanted = await forward(filler, adapter or PLAIN, PROMPT + tuple(said.tokens))
            assert list(scores.logprobs[1:]) == pytest.approx(wanted[: len(PROMPT) - 1], abs=1e-4)
            assert said.logprobs == pytest.approx(wanted[len(PROMPT) - 1 :], abs=1e-4)


async def test_what_is_cut_away_changes_no_logprob(sampler: Sampler) -> None:
    request = replace(ask(seed=3, temperature=0.5, top_p=0.5, top_k=5), top_logprobs=VOCAB)
    found, _ = await hear(sampler, request)
    for top in found[0].top:
        assert math.fsum(math.exp(logprob) for _, logprob in top) == pytest.approx(1, abs=1e-4)


async def test_an_engine_that_is_killed_comes_back_with_its_adapters(
    filler: Filler, vllm: VllmSampler, voices: tuple[AdapterId, ...]
) -> None:
    request = replace(ask(seed=2), adapter=voices[1])
    before, _ = await hear(filler.sampler, request)
    core = engine_core(vllm)
    stream = filler.sampler.sample(ask(n=600, max_tokens=CONTEXT - len(PROMPT)))
    await anext(stream)
    os.kill(core, signal.SIGKILL)
    with pytest.raises(Unavailable):
        async for _ in stream:
            pass
    after, _ = await hear(filler.sampler, request)
    assert after[0].tokens == before[0].tokens
    assert after[0].logprobs == pytest.approx(before[0].logprobs, abs=1e-5)
    assert vllm.server.starts == 2


def engine_core(sampler: VllmSampler) -> int:
    """The process that holds the model's scheduler, in the server's group."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError, FileNotFoundError):
            group = os.getpgid(int(folder.name))
            if group == sampler.server.process and b"EngineCore" in (folder / "cmdline").read_bytes():
                return int(folder.name)
    raise AssertionError("vLLM has no engine core")


def busy(sampler: VllmSampler) -> bool:
    """As vLLM itself counts: requests that run or wait."""
    transport = httpx2.HTTPTransport(uds=str(socket_of(sampler.server.home)))
    with httpx2.Client(transport=transport, base_url="http://vllm") as client:
        said = client.get("/metrics", timeout=60).text
    counts = re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)", said, re.MULTILINE)
    assert len(counts) == 2
    return sum(map(float, counts)) > 0
