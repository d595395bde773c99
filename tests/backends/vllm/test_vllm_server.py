"""A server that is started, watched, started again and never left behind, over the double."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_double import DIES, DRAGS
from vllm_double import Saved, Start, state, tell

from anubhav.backends.vllm import launch
from anubhav.backends.vllm.environment import Environment
from anubhav.backends.vllm.launch import Options
from anubhav.backends.vllm.sampler import VllmSampler
from anubhav.errors import BadInput, Broken, Unavailable
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import Sampled, SampleRequest, SamplingParams

ONE = AdapterId("ad_1")


def ask(first: int = 3, **params: Any) -> SampleRequest:
    return SampleRequest((first, 7), SamplingParams(**{"max_tokens": 6, "seed": 1, **params}))


async def hear(sampler: VllmSampler, request: SampleRequest) -> list[Sampled]:
    return [event async for event in sampler.sample(request)]


async def test_it_starts_again_with_its_adapters_and_says_the_same(start: Start, saved: Saved) -> None:
    sampler = start()
    await sampler.attach(ONE, saved("one"))
    request = replace(ask(), adapter=ONE)
    before = await hear(sampler, request)
    process = state(sampler)["process"]
    other = sampler.sample(ask(DRAGS, max_tokens=50))
    await anext(other)
    with pytest.raises(Unavailable):
        await hear(sampler, ask(DIES))
    with pytest.raises(Unavailable):
        await asyncio.wait_for(_rest(other), 60)
    await asyncio.to_thread(_wait_for_end, process)  # until then it may take a request more
    assert await hear(sampler, request) == before, "what comes meanwhile waits"
    assert state(sampler)["process"] != process
    assert (sampler.server.starts, sampler.running) == (2, 0)


async def test_one_attached_while_it_is_down_is_there_afterwards(start: Start, saved: Saved) -> None:
    sampler = start()
    os.kill(state(sampler)["process"], signal.SIGKILL)
    await sampler.attach(ONE, saved("one"))
    assert await hear(sampler, replace(ask(), adapter=ONE))


async def test_a_server_whose_engine_died_behind_it_is_replaced_and_who_asks_waits(start: Start) -> None:
    sampler = start()
    before = await hear(sampler, ask())
    tell(sampler, "/kill")
    assert await hear(sampler, ask()) == before
    assert sampler.server.starts == 2


async def test_while_it_does_not_start_again_everybody_is_told(
    start: Start, environment: Environment, tmp_path: Path
) -> None:
    sampler = start()
    config = tmp_path / "model" / "config.json"
    good = config.read_text()
    config.write_text(good.replace("{", '{"stillborn": true, ', 1))
    os.kill(state(sampler)["process"], signal.SIGKILL)
    assert "No available memory" in await _until(sampler, "No available memory")
    config.write_text(good)
    assert await _until(sampler, "") == "", "it never came back"


def test_one_that_cannot_start_says_its_last_words(start: Start) -> None:
    with pytest.raises(Unavailable, match="No available memory"):
        start(stillborn=True)


def test_one_that_did_not_learn_is_not_used(start: Start) -> None:
    with pytest.raises(Broken, match="did not learn"):
        start(unteachable=True)


def test_one_that_takes_too_long_is_given_up(start: Start) -> None:
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="was not up"):
        start(Options(start_seconds=0.05))
    assert time.monotonic() - begun < 20


def test_nothing_is_left_of_it(start: Start) -> None:
    sampler = start()
    group, engine = sampler.server.process, state(sampler)["process"]
    sampler.close()
    sampler.close()
    assert not sampler.server.home.exists()
    assert not _alive(group)
    assert not _alive(engine)


def test_it_goes_when_we_are_killed(environment: Environment, start: Start, tmp_path: Path) -> None:
    start().close()  # writes the model's folder
    program = f"""
import os, time
from pathlib import Path
sys_path = {str(Path(__file__).parent)!r}
import sys; sys.path.insert(0, sys_path)
from anubhav.backends.vllm.environment import Environment
from anubhav.backends.vllm.sampler import VllmSampler
from vllm_double import state
sampler = VllmSampler(Path({str(tmp_path / "model")!r}), None, Environment(Path({str(environment.home)!r}), "cpu"))
print(sampler.server.process, state(sampler)["process"], sampler.server.home, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        *numbers, home = owner.stdout.readline().split()
        keeper, engine = map(int, numbers)
        assert _alive(keeper)
        assert _alive(engine)
        owner.kill()
    until = time.monotonic() + 60
    while (_alive(keeper) or _alive(engine)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _alive(keeper)
    assert not _alive(engine)
    assert not Path(home).exists()


def test_it_goes_when_the_keeper_is_killed(start: Start) -> None:
    sampler = start()
    engine = state(sampler)["process"]
    os.kill(sampler.server.process, signal.SIGKILL)
    until = time.monotonic() + 60
    while _alive(engine) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _alive(engine)


def test_models_and_options_that_cannot_be_served_are_refused(start: Start) -> None:
    with pytest.raises(BadInput, match="latents"):
        start(kv_lora_rank=512)
    with pytest.raises(BadInput, match="context of 65"):
        start(Options(context=65))
    with pytest.raises(BadInput, match="rank 12"):
        Options(rank=12)


def test_the_command_says_what_was_chosen(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"text_config": {"vocab_size": 9, "max_position_embeddings": 128}}')
    options = Options(dtype="bfloat16", context=64, rows=3, adapters=5, ready=2, rank=16)
    facts = launch.read_facts(tmp_path, options)
    words = launch.command(facts, environment, options, tmp_path)
    said = {
        word: words[place + 1] for place, word in enumerate(words) if word.startswith("--") and place + 1 < len(words)
    }
    chosen = ("--dtype", "--max-model-len", "--max-num-seqs", "--max-loras", "--max-cpu-loras", "--max-lora-rank")
    assert [said[name] for name in chosen] == ["bfloat16", "64", "3", "5", "5", "16"]
    mixture = launch.command(replace(facts, mixture=True), environment, options, tmp_path)
    assert "--enable-lora" in words
    assert "--enable-lora" not in mixture


async def _until(sampler: VllmSampler, said: str) -> str:
    """What the last request of some seconds failed with, once it was that; nothing is none."""
    failure = ""
    for _ in range(600):
        try:
            await hear(sampler, ask())
            failure = ""
        except Unavailable as problem:
            failure = str(problem)
        if said in failure and (said or not failure):
            break
        await asyncio.sleep(0.05)
    return failure


async def _rest(stream: Any) -> None:
    async for _ in stream:
        pass


def _alive(process: int) -> bool:
    """And no zombie that only waits to be asked for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_for_end(process: int) -> None:
    until = time.monotonic() + 30
    with contextlib.suppress(OSError):
        while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < until
            time.sleep(0.01)
