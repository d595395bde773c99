"""What does it cost that trainer and sampler are elsewhere? The same work over Ray actors and in one process, by turns.

    python -m benchmarks.scale.handover [--rounds 7] [--rank 32] [--model NAME]

An adapter is handed over (saved by the trainer, attached to a sampler, its first token sampled), a step of 4×64 tokens
is trained, and one stream of 32 tokens is sampled. Ours is a cluster on this machine, a trainer and a sampler with one
processor each; the peer is our engine in this process, on one processor too. The last line is one JSON object: seconds,
bytes that travelled, and cluster ÷ process of the medians.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from anubhav.app import pull_model
from anubhav.backends.opening import Engine, open_engine
from anubhav.cluster.remote.connection import connect, disconnect, share
from anubhav.settings import default_models_dir
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import SampleRequest, SamplingParams
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass
from benchmarks.stand import batches
from benchmarks.stand.machine import commit, describe
from benchmarks.stand.model import NAME
from benchmarks.stand.processes import note

CLAIM = "Trainer and sampler elsewhere: what a hand-over, a step and a stream take over Ray, against one process."
RUN = AdapterId("run")


@dataclass
class Side:
    """An engine with an adapter in training."""

    engine: Engine
    folder: Path
    saves: int = 0

    async def hand_over(self, number: int) -> None:
        """Weights from the trainer into a sampler that speaks with them."""
        to = self.folder / str(number)
        to.mkdir(parents=True)
        await self.engine.trainer.save(RUN, to, optimizer=False)
        name = AdapterId(f"ad_{number}")
        await self.engine.sampler.attach(name, to)
        await self.say(number, 1, name)
        await self.engine.sampler.detach(name)

    async def step(self, number: int) -> None:
        data = tuple(_datum(tokens) for tokens in batches.documents([64] * 4, number))
        [result] = await self.engine.trainer.run([Pass(RUN, data, "cross_entropy")])
        if result.failure:
            raise result.failure
        await self.engine.trainer.step(RUN, OptimParams(learning_rate=1e-5))

    async def stream(self, number: int) -> None:
        await self.say(number, 32, None)

    async def say(self, number: int, tokens: int, adapter: AdapterId | None) -> None:
        prompt = tuple(batches.prompts(1, 32, number)[0])
        async for _ in self.engine.sampler.sample(SampleRequest(prompt, SamplingParams(tokens, seed=number), adapter)):
            pass


def _datum(tokens: list[int]) -> Datum:
    weights = floats([1.0] * (len(tokens) - 1))
    return Datum(tuple(tokens[:-1]), {"target_tokens": ints(tokens[1:]), "weights": weights})


async def took(work: Callable[[int], Awaitable[None]], number: int) -> float:
    started = time.perf_counter()
    await work(number)
    return time.perf_counter() - started


async def compare(far: Side, near: Side, rounds: int) -> dict[str, dict[str, Any]]:
    """By case; the first round warms up and does not count."""
    found: dict[str, dict[str, Any]] = {}
    for case in ("hand_over", "step", "stream"):
        times: dict[str, list[float]] = {"cluster": [], "process": []}
        for number in range(rounds + 1):
            for name, side in (("cluster", far), ("process", near)):
                seconds = await took(getattr(side, case), number)
                if number:
                    times[name].append(round(seconds, 4))
        middle = {name: median(values) for name, values in times.items()}
        found[case] = {**times, "median": middle, "ratio": round(middle["cluster"] / middle["process"], 3)}
        note(
            f"{case}: {middle['cluster']:.3f} s over Ray, {middle['process']:.3f} s here, ratio {found[case]['ratio']}"
        )
    return found


async def measure(folder: Path, scratch: Path, rank: int, rounds: int) -> dict[str, Any]:
    processors = share(1, 1, connect("local", scratch, hosts=2))
    from anubhav.cluster.remote.engine import RemoteEngine, Wanted

    remote = RemoteEngine(folder, None, Wanted(1, processors))
    near = Side(await asyncio.to_thread(open_engine, folder, None), scratch / "near")
    try:
        await remote.open()
        far = Side(remote, scratch / "far")
        for side in (far, near):
            await side.engine.trainer.create(RUN, LoraSpec(rank=rank))
        cases = await compare(far, near, rounds)
        weights = sum(file.stat().st_size for file in (scratch / "far" / "1").iterdir())
        return {"processors_each": processors, "adapter_bytes": weights, "cases": cases}
    finally:
        remote.close()
        near.engine.close()
        disconnect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--model", default=NAME)
    chosen = parser.parse_args()
    # Ray gives an actor as many threads as it has processors: the one beside it has as many.
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = pull_model(chosen.model, default_models_dir(), note).folder
    with tempfile.TemporaryDirectory(prefix="anubhav-scale-") as scratch:
        found = asyncio.run(measure(folder, Path(scratch), chosen.rank, chosen.rounds))
    about = {"claim": CLAIM, "machine": describe(1), "commit": commit(), "model": chosen.model, "rank": chosen.rank}
    print(json.dumps({**about, **found}), flush=True)


if __name__ == "__main__":
    main()
