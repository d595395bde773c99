"""How long does one feedback event take? On the real model, on the CPU, with what a server does for it.

Replies of the model are recorded, read ahead in the background as a server does, and then judged one after the other:
thumbs, ratings, comparisons, corrections. The time is that of the whole step: looking the reply up, its features, the
update of the posterior, trust, the watch, and the write that makes it durable. A second figure has the reply unread.

    python -m benchmarks.loop.events [--model smollm2-135m-instruct] [--events 200]
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from anubhav.backends.torch.engine import TorchEngine
from anubhav.catalog.library import Library
from anubhav.rendering.renderer import Renderer
from anubhav.rewards.critic import Critic
from anubhav.settings import default_models_dir
from anubhav.store import experience
from anubhav.store.database import Database
from anubhav.types.chat import Message
from anubhav.types.experience import Choice, Episode, Feedback
from anubhav.types.sampling import SampleRequest, SamplingParams
from benchmarks.stand.machine import commit, describe, processors

CLAIM = 0.1
"""Seconds, 95th percentile."""
_ASKED = (
    "How do I boil an egg?", "My parcel is late.", "Tell me about cats.", "Why is the sky blue?", "I want a refund.",
    "How do I sleep better?", "What is a noun?", "Where do penguins live?", "Give me a tip.", "Explain gravity.",
)  # fmt: skip


async def replies(engine: TorchEngine, renderer: Renderer, count: int, tokens: int) -> list[Episode]:
    async def one(number: int) -> Episode:
        messages = (Message("user", _ASKED[number % len(_ASKED)]),)
        prompt = renderer.render(messages)
        params = SamplingParams(tokens, seed=number, stop_tokens=renderer.stop_tokens)
        said: list[int] = []
        async for event in engine.sampler.sample(SampleRequest(prompt, params, priority="rollout")):
            said += event.tokens
        choice = Choice(tuple(said), (0.0,) * len(said), renderer.decode(said), "stop")
        return Episode(f"ep_{number}", "t", "default", "model", None, messages, prompt, (choice,), 1.0, 0.0, 0.1)

    return list(await asyncio.gather(*(one(number) for number in range(count))))


def judge(chance: random.Random, episode: Episode, other: Episode, number: int) -> Feedback:
    kind = chance.choice(("thumb", "thumb", "rating", "comparison", "correction"))
    value = float(chance.random() < 0.5) if kind == "thumb" else chance.random() if kind == "rating" else None
    return Feedback(
        f"fb_{number}", "t", episode.id, 0, kind, time.time(), value,
        "Please wait two days." if kind == "correction" else None, f"{other.id}:0" if kind == "comparison" else None,
        f"r{number % 9}",
    )  # fmt: skip


async def timed(critic: Critic, database: Database, given: Sequence[Feedback]) -> list[float]:
    took: list[float] = []
    for one in given:
        await database.run(lambda c, one=one: experience.add_feedback(c, one, "default", ""))
        started = time.monotonic()
        await critic.observe("default")
        await critic.flush()
        took.append(time.monotonic() - started)
    return sorted(took)


async def measure(folder: Path, events: int, data: Path) -> None:
    engine, renderer, database = TorchEngine(folder), Renderer(folder), Database(data / "rows.db")
    critic, chance = Critic(database, {"model": engine.reader}, {"model": renderer}), random.Random(0)
    try:
        episodes = await replies(engine, renderer, events, 40)
        started = time.monotonic()
        await engine.reader.read([(episodes[0].prompt_tokens, episodes[0].choices[0].tokens)])
        first = time.monotonic() - started
        for episode in episodes:
            await database.run(lambda c, episode=episode: experience.add_episode(c, episode))
        read, unread = episodes[: events * 4 // 5], episodes[events * 4 // 5 :]
        started = time.monotonic()
        for episode in read:
            await critic.gallery.view(episode, 0)
        ahead = (time.monotonic() - started) / len(read)
        given = [judge(chance, one, chance.choice(read), number) for number, one in enumerate(read)]
        late = [judge(chance, one, chance.choice(read), 10**6 + number) for number, one in enumerate(unread)]
        took, behind = await timed(critic, database, given), await timed(critic, database, late)
    finally:
        await critic.stop()
        database.close()
        engine.close()
    corrections = sum(one.kind == "correction" for one in given)
    print(f"{len(given)} events on replies read ahead, {corrections} of them with a correction to be read")
    p95 = took[int(0.95 * len(took))]
    summary = {
        "benchmark": "loop.events",
        "claim": {"p95_s": CLAIM, "met": p95 < CLAIM},
        "events": len(given),
        "p50_s": round(took[len(took) // 2], 4),
        "p95_s": round(p95, 4),
        "max_s": round(took[-1], 4),
        "unread_p50_s": round(behind[len(behind) // 2], 4),
        "unread_p95_s": round(behind[int(0.95 * len(behind))], 4),
        "read_ahead_s": round(ahead, 4),
        "first_read_s": round(first, 2),
        "machine": describe(processors()),
        "commit": commit(),
    }
    print(json.dumps(summary))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--events", type=int, default=200)
    given = parser.parse_args()
    folder = Library(default_models_dir()).find(given.model).folder
    with tempfile.TemporaryDirectory() as data:
        asyncio.run(measure(folder, given.events, Path(data)))


if __name__ == "__main__":
    main()
