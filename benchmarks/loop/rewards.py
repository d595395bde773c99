"""How well does the critic find a hidden preference? On real replies of the real model, with its own features.

The model answers questions and sums under several instructions. A hidden taste scores the replies: brevity, politeness,
and right sums. Simulated raters, some of them noisy or hostile, see replies and give thumbs and comparisons by it; the
critic learns from these alone. Held-out replies tell how often it agrees with the taste, and how calibrated it is.

    python -m benchmarks.loop.rewards [--seed 1] [--noise 0.0] [--hostile 0.0] [--events 1000] [--replies 320]
"""

import argparse
import asyncio
import json
import math
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anubhav.backends.torch.engine import TorchEngine
from anubhav.catalog.library import Library
from anubhav.rendering.renderer import Renderer
from anubhav.rewards.covariates import NAMES, covariates
from anubhav.rewards.mind import Mind, fresh
from anubhav.rewards.votes import View, Vote
from anubhav.rewards.watch import Judged, ece, figures
from anubhav.settings import default_models_dir
from anubhav.types.chat import Message
from anubhav.types.sampling import SampleRequest, SamplingParams
from benchmarks.stand.machine import commit, describe, processors

AFTER = (50, 200, 1000)
CLAIM = {"ece": 0.08}
_STEEP = 3.0
"""How decided people are: log-odds for each deviation of their taste."""
_ASKED = (
    "How do I boil an egg?", "My parcel is late.", "What is the capital of Peru?", "Tell me about cats.",
    "Can you help me?", "Why is the sky blue?", "I want a refund.", "Name a fruit.", "What should I cook?",
    "How do I sleep better?", "Explain gravity.", "Say hello to Tom.", "What is a noun?", "Give me a tip.",
)  # fmt: skip
_STYLES = (None, "Answer very briefly.", "Be polite: say please and thank you.", "Answer at length with a list.")
_POLITE = re.compile(r"please|thank|welcome|sorry|happy to|kind|glad", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    view: View
    worth: float


def taste(question: str, text: str) -> float:
    worth = -0.04 * len(text.split()) + 1.2 * bool(_POLITE.search(text))
    if found := re.match(r"What is (\d+) \+ (\d+)", question):
        worth += 1.5 if re.search(rf"\b{int(found[1]) + int(found[2])}\b", text) else -0.5
    return worth


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the model said under some instruction, as an answer to the bare question."""

    question: str
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    text: str


async def speak(engine: TorchEngine, renderer: Renderer, count: int, seed: int) -> list[Spoken]:
    chance = random.Random(seed)
    asked = [*_ASKED, *(f"What is {chance.randrange(2, 30)} + {chance.randrange(2, 10)}?" for _ in range(10))]

    async def one(number: int) -> Spoken:
        question, style = asked[number % len(asked)], _STYLES[number % len(_STYLES)]
        told = [Message("system", style)] if style else []
        prompt = renderer.render([*told, Message("user", question)])
        params = SamplingParams(48, seed=seed * 10_000 + number, stop_tokens=renderer.stop_tokens)
        said: list[int] = []
        async for event in engine.sampler.sample(SampleRequest(prompt, params, priority="rollout")):
            said += event.tokens
        bare = renderer.render([Message("user", question)])
        return Spoken(question, bare, tuple(said), renderer.decode(said))

    return list(await asyncio.gather(*map(one, range(count))))


async def replies(folder: Path, count: int, seed: int) -> list[Said]:
    """Deviations of the taste, and features of the reply to the bare question, whatever instruction it came from."""
    engine, renderer = TorchEngine(folder), Renderer(folder)
    try:
        found = await speak(engine, renderer, count, seed)
        read = await engine.reader.read([(one.prompt, one.tokens) for one in found])
    finally:
        engine.close()
    worths = [taste(one.question, one.text) for one in found]
    middle = sum(worths) / len(worths)
    spread = math.sqrt(sum((worth - middle) ** 2 for worth in worths) / len(worths))
    return [
        Said(View(tuple(float(value) for value in array.tolist()), covariates(one.text)), (worth - middle) / spread)
        for array, one, worth in zip(read, found, worths, strict=True)
    ]


def yes(strength: float, chance: random.Random) -> bool:
    """What an honest person says of so many deviations of their taste."""
    return chance.random() < 1 / (1 + math.exp(-_STEEP * strength))


class People:
    """Twenty raters, a tenth of them hostile, who give the asked share of all votes."""

    def __init__(self, seed: int, noise: float, hostile: float) -> None:
        self.chance, self._noise, self._hostile = random.Random(seed), noise, hostile
        self._number = 0

    def yes(self, strength: float) -> bool:
        return yes(strength, self.chance) != (self.chance.random() < self._noise)

    def vote(self, said: Sequence[Said]) -> tuple[Vote, float]:
        self._number += 1
        bad = self.chance.random() < self._hostile
        rater = f"t/bad{self.chance.randrange(2)}" if bad else f"t/r{self.chance.randrange(18)}"
        item = f"ep_{self._number}:0"
        one, other = self.chance.sample(said, 2)
        if self.chance.random() < 0.5:
            up = float(self.yes(one.worth) != bad)
            return Vote(self._number, rater, item, "person", 0.0, up, one.view, key=item), 2 * up - 1
        if self.yes(one.worth - other.worth) == bad:
            one, other = other, one
        return Vote(self._number, rater, item, "person", 0.0, 1.0, one.view, other.view, key=item), 1.0


def examine(mind: Mind, held: Sequence[Said], people: People) -> dict[str, float]:
    """On pairs of held-out replies: agreement with the taste, and calibration against what people would say."""
    right, told = 0, list[Judged]()
    for _ in range(1000):
        one, other = people.chance.sample(held, 2)
        right += (mind.prefers(one.view, other.view) > 0.5) == (one.worth > other.worth)
        said = people.yes(one.worth - other.worth)
        told.append(Judged(mind.prefers(one.view, other.view), float(said), 0.0, (), pair=True, reliable=True))
    return {"accuracy": right / 1000, "ece": round(ece(told), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--hostile", type=float, default=0.0)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--replies", type=int, default=320)
    given = parser.parse_args()
    said = asyncio.run(replies(Library(default_models_dir()).find(given.model).folder, given.replies, given.seed))
    people, mind = People(given.seed, given.noise, given.hostile), fresh(len(said[0].view.features), len(NAMES))
    people.chance.shuffle(said)
    held, shown = said[: len(said) // 4], said[len(said) // 4 :]
    found: dict[int, dict[str, float]] = {}
    seconds = 0.0
    for number in range(1, given.events + 1):
        started = time.perf_counter()
        mind.step(*people.vote(shown))
        seconds += time.perf_counter() - started
        if number in AFTER or number == given.events:
            found[number] = examine(mind, held, people)
            print(f"after {number} events: {found[number]}", flush=True)
    believed = {one.name: round(one.trust, 2) for one in mind.ledger.list()}
    last = found[given.events]
    summary = {
        "benchmark": "loop.rewards",
        "claim": {**CLAIM, "met": last["ece"] <= CLAIM["ece"]},
        "seed": given.seed,
        "noise": given.noise,
        "hostile": given.hostile,
        "replies": len(said),
        "after": found,
        "prequential_ece": round(figures(mind.record)["ece"], 4),
        "trust_hostile": {name: trust for name, trust in believed.items() if "bad" in name},
        "ms_per_event": round(1000 * seconds / given.events, 2),
        "machine": describe(processors()),
        "commit": commit(),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
