"""Does a learned policy of memory keep more than the one set by hand? Taught on some domains, tried on others.

    python -m benchmarks.memory.learned --seed 1

Lives of the training domains are heard, and as many of friends who tell each other events; what later questions drew
on is learned by the product's own teachers: `fit` on labelled lines and, with --rounds, `reinforce` on whole answers;
the allocation's stretch and the window are chosen on one of the lives. How old a line is, and whether it renewed
another, is not learned: what was dropped lately is taught beside what was kept long, which both would tell apart.
Then both policies hear the same new lives of the held-out domains, at budgets too small for all. The learned policy is
written to --out, where the other benchmarks find it.
"""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from anubhav.memory.learn import fit, reinforce
from anubhav.memory.scoring import FIXED
from anubhav.types.memory import MemoryPolicy
from benchmarks.memory.course import sit
from benchmarks.memory.intervals import paired, percent
from benchmarks.memory.life import FRIENDS, HELD_OUT, TRAIN, Life, Plan, live
from benchmarks.memory.policies.diffusion import Diffusion
from benchmarks.memory.schooling import Lessons, attend
from benchmarks.memory.shelf import LEARNED, Shelf
from benchmarks.memory.voice import Voice
from benchmarks.stand.machine import commit, describe, processors
from benchmarks.stand.processes import note

GAIN = 10.0
"""Percentage points over the policy set by hand."""
_STRETCHES, _WINDOWS = (0.5, 1.0), (0.03125, 0.125)
_TRIED = 1
"""Training lives that stretch and window are chosen on."""
_HELD_OUT_SEED = 500_000
_PRIOR = 30.0
"""Lines that each weight set by hand counts for: thousands are learned from."""
_BIASED = ("age", "renewed")
_TALKED = Plan(400, FRIENDS, facts=14, updates=0, forgotten=0, questions=1, talk="chatter-friends")
_TALKED_BUDGETS = (512, 1024, 2048)


async def teach(
    lives: Sequence[Life], budgets: Sequence[int], shelf: Shelf, chosen: argparse.Namespace
) -> MemoryPolicy:
    talks = [live(chosen.seed * 1000 + number, _TALKED) for number in range(len(lives))]
    lessons = Lessons()
    for heard, rooms in ((lives, budgets), (talks, _TALKED_BUDGETS)):
        for number, life in enumerate(heard):
            told = await attend(life, FIXED, rooms[number % len(rooms)], shelf.count)
            lessons.examples += [replace(one, features=_unbiased(one.features)) for one in told.examples]
            lessons.scenes += [replace(one, features=tuple(map(_unbiased, one.features))) for one in told.scenes]
    note(f"{len(lessons.examples)} labelled lines, {len(lessons.scenes)} scenes")
    fitted = fit(lessons.examples, FIXED, "learned", _PRIOR)
    note(f"fitted: {_told(fitted)}")
    best, found = -1.0, fitted
    policies = [fitted]
    if chosen.rounds:
        policies.append(reinforce(lessons.scenes, fitted, "learned", seed=chosen.seed, rounds=chosen.rounds))
    for policy in policies:
        for stretch, window in product(_STRETCHES, _WINDOWS):
            tried = replace(policy, stretch=stretch, window=window)
            share = fmean([fmean(await shares(tried, lives[:_TRIED], budget, shelf)) for budget in budgets])
            if share > best:
                best, found = share, tried
    note(f"chosen on training lives, where it keeps {best:.2f}: {_told(found)}")
    return found


def _unbiased(features: Mapping[str, float]) -> Mapping[str, float]:
    return {name: value for name, value in features.items() if name not in _BIASED}


async def shares(policy: MemoryPolicy, lives: Sequence[Life], budget: int, shelf: Shelf) -> list[float]:
    """Of each life's true facts, the share read right at its end."""
    found: list[float] = []
    for life in lives:
        memory = Diffusion(policy, budget, shelf.count)
        for message in life.messages:
            await memory.hear(message)
        known = (await sit(memory, life, len(life.messages))).known
        found.append(sum(known.values()) / len(known))
    return found


async def measure(chosen: argparse.Namespace) -> None:
    voice = Voice(chosen.model)
    shelf = Shelf(voice, chosen.tokens)
    plan = Plan(chosen.turns, TRAIN, chosen.facts)
    training = [live(chosen.seed * 1000 + number, plan) for number in range(chosen.lives)]
    learned = await teach(training, chosen.budget, shelf, chosen)
    chosen.out.write_text(_told(learned) + "\n", encoding="utf-8")
    trying = replace(plan, domains=HELD_OUT)
    lives = [live(_HELD_OUT_SEED + chosen.seed * 1000 + number, trying) for number in range(chosen.tried)]
    rows: list[dict[str, Any]] = []
    for budget in chosen.budget:
        rows.append(
            compare(budget, await shares(learned, lives, budget, shelf), await shares(FIXED, lives, budget, shelf))
        )
        print(json.dumps(rows[-1]), flush=True)
    summary = {
        "benchmark": "memory.learned",
        "claim": {"gain": GAIN, "met": any(row["gain"] >= GAIN for row in rows)},
        "seed": chosen.seed,
        "turns": chosen.turns,
        "facts": chosen.facts,
        "tokens": chosen.tokens,
        "train": [*TRAIN, *FRIENDS],
        "held_out": HELD_OUT,
        "budgets": rows,
        "policy": json.loads(_told(learned)),
        "machine": describe(processors()),
        "commit": commit(),
    }
    print(json.dumps(summary))


def compare(budget: int, learned: Sequence[float], fixed: Sequence[float]) -> dict[str, Any]:
    gain, low, high = paired(learned, fixed)
    return {
        "budget": budget,
        "lives": len(learned),
        "learned": percent(fmean(learned)),
        "fixed": percent(fmean(fixed)),
        "gain": percent(gain),
        "gain_interval": [percent(low), percent(high)],
    }


def _told(policy: MemoryPolicy) -> str:
    kept = {name: value for name, value in asdict(policy).items() if name != "refiller"}
    return json.dumps(kept | {"weights": {name: round(weight, 4) for name, weight in policy.weights.items()}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="draws everything (default: %(default)s)")
    parser.add_argument("--lives", type=int, default=12, help="to learn from (default: %(default)s)")
    parser.add_argument("--tried", type=int, default=10, help="to compare on (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=600, help="messages of a life (default: %(default)s)")
    parser.add_argument("--facts", type=int, default=20, help="true at the end of a life (default: %(default)s)")
    parser.add_argument("--budget", type=int, nargs="+", default=[256, 512], help="in tokens (default: 192 256)")
    parser.add_argument("--rounds", type=int, default=0, help="of reinforcement (default: %(default)s)")
    parser.add_argument("--tokens", choices=("words", "model"), default="model", help="default: %(default)s")
    parser.add_argument("--model", default=Voice.usual, help="catalogue name or folder (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=LEARNED, help="the policy's file (default: results/learned.json)")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
