"""Generated lives: preferences, facts, updates, deletions, open questions and much chatter, with an exam at the end.

    python -m benchmarks.memory.lives --seed 1 --turns 1000 --budget 512

Each policy hears the same lives. Figures are percentages where they are shares:

- facts: of the facts that are true at the end, those that a reader who cannot be wrong gets right (`exam`).
- last_value: of those that were updated, the last value is read and no outdated one stands there as current.
- last_believed: the same without the second half: the later line wins, as a careful reader of all lines would have it.
- open: questions nobody answered that are still there.
- leaks: values of facts that were to be forgotten and still stand somewhere, over all lives.
- invented: numbers and capitalised words that nobody had said, over all lives.
- seconds_early, seconds_late: processor seconds of a turn, of messages 100 to 200 and of the last 100.
- facts_model (--reader model): the embedded model is asked about each fact and must name the value.

--domains names those the facts are drawn from; all by default, `held-out` are those that no policy is trained on,
`unseen` one that no rule was made with either; with --talk chatter-other the talk around it is unseen as well.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from benchmarks.memory.course import Course, go
from benchmarks.memory.intervals import clustered, mean, percent
from benchmarks.memory.life import HELD_OUT, TRAIN, UNSEEN, Plan, live
from benchmarks.memory.policies.policy import Policy
from benchmarks.memory.shelf import NAMES, USUAL, Shelf
from benchmarks.memory.voice import Voice
from benchmarks.stand.environments import NotRun
from benchmarks.stand.figures import table
from benchmarks.stand.machine import commit, describe, processors

FACTS, RECENCY, LAST, SLOWER = 90.0, 20.0, 95.0, 1.10


def seeds(seed: int, lives: int) -> list[int]:
    return [seed * 1000 + number for number in range(lives)]


async def run(name: str, chosen: argparse.Namespace, shelf: Shelf, plan: Plan) -> dict[str, Any]:
    courses: list[Course] = []
    voice = shelf.voice if chosen.reader != "oracle" else None
    try:
        for seed in seeds(chosen.seed, chosen.lives):
            policy = shelf.make(name, chosen.budget)
            courses.append(await go(policy, live(seed, plan), shelf.count, voice))
    except NotRun as problem:
        return {"not_run": str(problem)}
    return figures(courses, policy)


def figures(courses: Sequence[Course], policy: Policy) -> dict[str, Any]:
    early, late = (mean([t for t in times if t is not None]) for times in _times(courses))
    found: dict[str, Any] = {
        **_shares("facts", [list(course.marks.known.values()) for course in courses]),
        **_shares("last_value", [list(course.marks.clean.values()) for course in courses]),
        **_shares("last_believed", [list(course.marks.believed.values()) for course in courses]),
        **_shares("open", [list(course.marks.open) for course in courses]),
        "leaks": sum(len(course.marks.leaks) for course in courses),
        "leaked": [leak for course in courses for leak in course.marks.leaks],
        "invented": sum(len(course.marks.invented) for course in courses),
        "invented_words": [word for course in courses for word in course.marks.invented],
        "peak_tokens": max(course.peak_tokens for course in courses),
        "seconds_early": early,
        "seconds_late": late,
        "late_over_early": round(late / early, 3) if early and late else None,
        "checkpoints": [
            {
                "turns": points[0].turns,
                "facts": percent(fmean(point.facts for point in points)),
                "tokens": round(fmean(point.tokens for point in points)),
            }
            for points in zip(*(course.checkpoints for course in courses), strict=True)
        ],
        "bounded": policy.bounded,
        "outside": policy.outside,
    }
    answered = [list(course.answered.values()) for course in courses if course.answered is not None]
    return found | _shares("facts_model", answered)


def _times(courses: Sequence[Course]) -> tuple[list[float | None], list[float | None]]:
    return [course.early for course in courses], [course.late for course in courses]


def _shares(name: str, clusters: Sequence[Sequence[bool]]) -> dict[str, Any]:
    values = [value for cluster in clusters for value in cluster]
    if not values:
        return {}
    low, high = clustered([[float(value) for value in cluster] for cluster in clusters])
    return {name: percent(fmean(values)), f"{name}_interval": [percent(low), percent(high)], f"{name}_of": len(values)}


def claim(told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    ours, recency = told.get("diffusion-fixed"), told.get("recency")
    if not ours:
        return {}
    slower = ours["late_over_early"]
    said: dict[str, Any] = {
        "facts": ours["facts"] >= FACTS,
        "last_value": ours["last_value"] >= LAST if "last_value" in ours else None,
        "leaks": ours["leaks"] == 0,
        "invented": ours["invented"] == 0,
        "late_over_early": slower <= SLOWER if slower is not None else None,
        "recency_is_low": recency["facts"] <= RECENCY if recency else None,
    }
    return said | {"met": all(answer is not False for answer in said.values())}


async def measure(chosen: argparse.Namespace) -> None:
    voice = Voice(chosen.model)
    shelf = Shelf(voice, chosen.tokens, chosen.surprise)
    plan = Plan(
        chosen.turns, _domains(chosen.domains), chosen.facts, chosen.updates, chosen.forgotten, talk=chosen.talk
    )
    try:
        live(seeds(chosen.seed, 1)[0], plan)
    except ValueError as problem:
        sys.exit(str(problem))
    told: dict[str, dict[str, Any]] = {}
    try:
        for name in chosen.policies:
            told[name] = await run(name, chosen, shelf, plan)
            print(json.dumps({"policy": name, **told[name]}, ensure_ascii=False), flush=True)
    finally:
        voice.close()
    done = {name: one for name, one in told.items() if "not_run" not in one}
    print(_shown(done))
    summary = {
        "benchmark": "memory.lives",
        "claim": claim(done),
        "seed": chosen.seed,
        "lives": chosen.lives,
        "turns": chosen.turns,
        "budget": chosen.budget,
        "tokens": chosen.tokens,
        "facts": chosen.facts,
        "domains": plan.domains,
        "talk": chosen.talk,
        "surprise": chosen.surprise,
        "policies": told,
        "machine": describe(processors()),
        "commit": commit(),
    }
    print(json.dumps(summary, ensure_ascii=False))


def _domains(names: Sequence[str]) -> tuple[str, ...]:
    groups = {"train": TRAIN, "held-out": HELD_OUT, "all": (*TRAIN, *HELD_OUT), "unseen": UNSEEN}
    return tuple(domain for name in names for domain in groups.get(name, (name,)))


def _shown(told: dict[str, dict[str, Any]]) -> str:
    shares = ("facts", "last_value", "last_believed", "open", "facts_model")
    heads = ("policy", *shares, "leaks", "invented", "most tokens", "ms early", "ms late", "late/early")
    rows = [
        (
            name,
            *(str(one.get(share, "")) for share in shares),
            *(str(one[kind]) for kind in ("leaks", "invented", "peak_tokens")),
            *(f"{1000 * one[at]:.2f}" if one[at] is not None else "" for at in ("seconds_early", "seconds_late")),
            str(one["late_over_early"] or ""),
        )
        for name, one in told.items()
    ]
    return table(rows, heads)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="draws everything (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=1000, help="messages of a life (default: %(default)s)")
    parser.add_argument("--budget", type=int, default=512, help="in tokens (default: %(default)s)")
    parser.add_argument("--lives", type=int, default=5, help="of each policy (default: %(default)s)")
    parser.add_argument("--facts", type=int, default=16, help="true at the end of a life (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=5, help="of them (default: %(default)s)")
    parser.add_argument("--forgotten", type=int, default=3, help="facts beside them (default: %(default)s)")
    known = ("all", "train", "held-out", "unseen", *TRAIN, *HELD_OUT)
    parser.add_argument("--domains", nargs="+", choices=known, default=["all"], help="default: all")
    parser.add_argument("--talk", default="chatter", help="the file of the talk around them (default: %(default)s)")
    parser.add_argument("--policies", nargs="+", choices=NAMES, default=USUAL, help="default: all but summary")
    parser.add_argument("--reader", choices=("oracle", "model", "both"), default="oracle", help="default: %(default)s")
    parser.add_argument("--tokens", choices=("words", "model"), default="model", help="default: %(default)s")
    parser.add_argument("--surprise", action="store_true", help="weigh words by the model's surprise: slow")
    parser.add_argument("--model", default=Voice.usual, help="catalogue name or folder (default: %(default)s)")
    return parser


def main() -> None:
    asyncio.run(measure(_options().parse_args()))


if __name__ == "__main__":
    main()
