"""How much does one tenant's backlog delay another? On the real engine and model, in one process.

A modest tenant sends one request after the other, with a pause between them. Its times are taken alone, and then beside
a greedy tenant that queued 10,000 samples before. Prints both and the ratio of the 95th percentiles.

    python -m benchmarks.engine.fairness [--model smollm2-135m-instruct] [--requests 30] [--queued 10000]
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

from anubhav.backends.torch.engine import TorchEngine
from anubhav.catalog.library import Library
from anubhav.settings import default_models_dir
from anubhav.types.sampling import SampleRequest, SamplingParams
from benchmarks.stand.machine import commit, describe, processors

PAUSE = 0.2
SHORT, LONG = 24, 48
"""Tokens of an answer: a greedy sample's, a modest request's."""


def request(tenant: str, number: int, tokens: int) -> SampleRequest:
    chance = random.Random(number)
    prompt = tuple(chance.randrange(100, 40_000) for _ in range(chance.randrange(20, 60)))
    return SampleRequest(prompt, SamplingParams(tokens, seed=number), priority="rollout", tenant=tenant)


async def answer(engine: TorchEngine, asked: SampleRequest, told: Counter[str]) -> None:
    async for event in engine.sampler.sample(asked):
        told[asked.tenant] += len(event.tokens)


async def times(engine: TorchEngine, requests: int, told: Counter[str]) -> list[float]:
    """Seconds of each of the modest tenant's requests."""
    took: list[float] = []
    for number in range(requests):
        started = time.monotonic()
        await answer(engine, request("modest", 10**6 + number, LONG), told)
        took.append(time.monotonic() - started)
        await asyncio.sleep(PAUSE)
    return took


async def measure(folder: Path, requests: int, queued: int) -> None:
    engine = TorchEngine(folder)
    told: Counter[str] = Counter()
    try:
        await times(engine, 3, told)  # warm
        alone = await times(engine, requests, told)
        backlog = [
            asyncio.create_task(answer(engine, request("greedy", number, SHORT), told)) for number in range(queued)
        ]
        await asyncio.sleep(5)
        started, before = time.monotonic(), told["greedy"]
        beside = await times(engine, requests, told)
        rate = (told["greedy"] - before) / (time.monotonic() - started)
        waiting = sum(not task.done() for task in backlog)
        for task in backlog:
            task.cancel()
        await asyncio.gather(*backlog, return_exceptions=True)
    finally:
        engine.close()
    ratio = quantile(beside, 0.95) / quantile(alone, 0.95)
    print(f"modest tenant, {requests} requests of {LONG} tokens, {PAUSE} s between them")
    for name, took in (("alone", alone), ("beside the backlog", beside)):
        print(f"  {name:<20} median {quantile(took, 0.5):.2f} s   p95 {quantile(took, 0.95):.2f} s")
    print(f"p95 ratio {ratio:.2f}")
    print(f"greedy tenant meanwhile: {rate:.0f} tokens/s; {waiting} of {queued} samples still waited at the end")
    claim = (__doc__ or "").splitlines()[0]
    figures = {"p95_ratio": ratio, "p95_alone": quantile(alone, 0.95), "p95_beside": quantile(beside, 0.95)}
    print(json.dumps({"claim": claim, "machine": describe(processors()), "commit": commit(), **figures}))


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, round(share * (len(values) - 1)))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--queued", type=int, default=10_000)
    chosen = parser.parse_args()
    found = Library(default_models_dir()).find(chosen.model)
    asyncio.run(measure(found.folder, chosen.requests, chosen.queued))
