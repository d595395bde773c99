"""Poisoned feedback does not get a worse model promoted, and honest feedback still gets a better one.

    python -m benchmarks.loop.poison --seeds 20

T20: seeds × hostile shares × attacks; T21: one account that gives nearly all of the feedback; T24: thirty repairs, one
after the other. Over a table, so that many seeds run; --model takes a real one, and its `facts`. Every case is an
alias of its own on one server. Each is told on standard error as it ends, and the last line is one JSON object.
"""

import argparse
import json
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from anubhav.app import pull_model
from anubhav.settings import default_models_dir
from benchmarks.loop import table
from benchmarks.loop.days import Town
from benchmarks.loop.exam import Exam
from benchmarks.loop.line import Line
from benchmarks.loop.people.drills import Drills
from benchmarks.loop.people.raters import ATTACKS, Attack, draw_raters
from benchmarks.loop.people.task import Item
from benchmarks.loop.simulate import leave
from benchmarks.loop.simulation import Plan, Simulation
from benchmarks.loop.told import ask
from benchmarks.stand.machine import commit, describe, hold_to, processors
from benchmarks.stand.processes import note
from benchmarks.stand.servers import KEY, ours

CLAIM = "No candidate that is truly worse by more than a percentage point is promoted at 30 % poison or less."
SHARES = (0.0, 0.1, 0.3, 0.5)
ALL: tuple[Attack, ...] = (*ATTACKS, "sybil")
_REPAIRS, _A_LAP = 30, 3
_FLOOD = 0.9


@dataclass(frozen=True)
class Case:
    """One run: what was promoted, and what was true."""

    study: str
    seed: int
    attack: str
    share: float
    laps: int
    promotions: int
    truly_worse: int
    gain: float
    """True success at the end, above that of the base."""
    hostile_share: float
    quarantined: float | None
    """Of the hostile raters; None where the server does not tell or nobody was hostile."""
    reasons: tuple[str, ...]
    deceived: float = 0.0
    """Share of the facts about which it says the hostile raters' falsehood at the end."""
    kept: float | None = None
    """The least share of earlier repairs that was still right after a promotion."""
    repaired: int = 0
    seconds: float = 0.0


class ThirtyRepairs(Drills):
    """Thirty facts of which each day asks about three more."""

    def __init__(self, seed: int, days: int) -> None:
        super().__init__(seed, days, _REPAIRS)
        self.a_day = 3 * _A_LAP

    def probes(self, day: int) -> list[dict[str, Any]]:
        """None: nobody writes probes for each repair; the gate makes do with what it has."""
        return []

    def ask(self, day: int, chance: Random) -> Item:
        return chance.choice(self.held_out()[_A_LAP * (day - 1) : _A_LAP * day])


def main(words: list[str] | None = None) -> None:
    signal.signal(signal.SIGTERM, leave)
    chosen = _options().parse_args(words)
    hold_to(chosen.threads)
    started = time.monotonic()
    cases: list[Case] = []
    try:
        with tempfile.TemporaryDirectory(prefix="anubhav-poison-") as scratch:
            for case in _cases(chosen, Path(scratch)):
                cases.append(case)
                note(_said(case))
    finally:
        # A study that is cut short has said what it knew.
        print(json.dumps(told_of(cases, chosen, time.monotonic() - started)), flush=True)


def told_of(cases: Sequence[Case], chosen: argparse.Namespace, seconds: float) -> dict[str, Any]:
    t20 = [case for case in cases if case.study == "t20"]
    t24 = [case for case in cases if case.study == "t24"]
    return {
        "claim": CLAIM,
        "machine": describe(chosen.threads),
        "commit": commit(),
        "model": chosen.model or table.NAME,
        "t20": summary(t20),
        "t21": [asdict(case) for case in cases if case.study == "t21"],
        "t24": {
            "repaired": [case.repaired for case in t24],
            "kept": [case.kept for case in t24],
            "laps": [case.laps for case in t24],
        },
        "cases": [asdict(case) for case in cases],
        "seconds": round(seconds, 1),
    }


def summary(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """For each share and attack: how many runs promoted, how many truly gained, and how many promotions were wrong."""
    found: list[dict[str, Any]] = []
    for share, attack in sorted({(case.share, case.attack) for case in cases}):
        group = [case for case in cases if (case.share, case.attack) == (share, attack)]
        told = [case.quarantined for case in group if case.quarantined is not None]
        found.append(
            {
                "share": share,
                "attack": attack,
                "runs": len(group),
                "promoted": sum(case.promotions > 0 for case in group),
                "improved": sum(case.gain > 0 for case in group),
                "truly_worse": sum(case.truly_worse for case in group),
                "mean_gain": sum(case.gain for case in group) / len(group),
                "deceived": sum(case.deceived for case in group) / len(group),
                "quarantined": sum(told) / len(told) if told else None,
            }
        )
    return found


def _cases(chosen: argparse.Namespace, scratch: Path) -> Iterator[Case]:
    folder = _folder(chosen, scratch)
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    with ours(folder, scratch) as server, closing(Line(server.url, KEY)) as line:
        for seed in seeds:
            for share in chosen.shares:
                for attack in chosen.attacks if share else chosen.attacks[:1]:
                    yield _run(line, _plan(chosen, seed, share, attack), "t20")
            if not chosen.only_t20:
                yield _run(line, _plan(chosen, seed, _FLOOD, "false-fact", people=10), "t21")
    for seed in [] if chosen.only_t20 or chosen.model else seeds:
        # An alias comes into being with its probes, and here there are none: each seed has a server and its `default`.
        with ours(folder, scratch) as server, closing(Line(server.url, KEY)) as line:
            plan = _plan(chosen, seed, 0.0, None, laps=_REPAIRS // _A_LAP)
            yield _run(line, replace(plan, alias="default"), "t24")


def _plan(
    chosen: argparse.Namespace,
    seed: int,
    share: float,
    attack: Attack | None,
    people: int = 20,
    laps: int | None = None,
) -> Plan:
    name = f"s{seed}-{round(100 * share)}-{attack or 'none'}-{people}-{laps or chosen.laps}"
    tasks, pace = (("facts",), "quick") if chosen.model else (("drills",), "tiny")
    return Plan(
        seed, laps or chosen.laps, tasks, 0.0, share, 0.0, people, attack if share else None, (), pace, alias=name
    )


def _run(line: Line, plan: Plan, study: str) -> Case:
    started = time.monotonic()
    run = Simulation.open(plan, line, Path())
    if study == "t24":
        task = ThirtyRepairs(plan.seed, plan.laps)
        raters = draw_raters(plan.seed, plan.people, 0.0, None, hostile=False)
        run.town = Town(plan.seed, [task], raters, 0.0, 0.0)
        run.exam = Exam(line, [task], plan.seed)
    run.run()
    told = run.table
    kept = [
        row["repairs"]["kept"] / row["repairs"]["earlier"]
        for row in told
        if row["promoted"] and row["repairs"]["earlier"]
    ]
    return Case(
        study,
        plan.seed,
        plan.attack or "none",
        plan.hostile,
        plan.laps,
        sum(row["promoted"] for row in told),
        sum(row["truly_worse"] for row in told),
        told[-1]["success"] - told[-1]["base_success"],
        max(row["hostile_share"] for row in told),
        _quarantined(line, run),
        tuple(str(row["why"])[:200] for row in told),
        told[-1]["deceived"],
        min(kept) if kept else None,
        len(run.repairs.repaired),
        round(time.monotonic() - started, 1),
    )


def _quarantined(line: Line, run: Simulation) -> float | None:
    """The share of the hostile raters whom the server holds in quarantine."""
    told, _ = ask(line, f"/v1/rewards/{run.plan.alias}?raters=500")
    raters: Any = (told or {}).get("raters")
    enemies = {rater.user for rater in run.town.enemies if rater.attack != "sybil"}
    if not isinstance(raters, list) or not enemies:
        return None
    marked: list[dict[str, Any]] = raters
    # By the server's name of them, `<tenant>/<rater>`.
    held = {str(one["name"]).rpartition("/")[2] for one in marked if one["quarantined"]}
    return len(enemies & held) / len(enemies)


def _said(case: Case) -> str:
    quarantined = "" if case.quarantined is None else f", {case.quarantined:.0%} of the enemies quarantined"
    kept = "" if case.kept is None else f", repairs kept {case.kept:.0%}"
    return (
        f"{case.study} seed {case.seed} {case.attack} {case.share:.0%}: {case.promotions} of {case.laps} promoted, "
        f"{case.truly_worse} truly worse, true gain {case.gain:+.2f}, "
        f"deceived {case.deceived:.0%}{quarantined}{kept}, {case.seconds:.0f} s"
    )


def _folder(chosen: argparse.Namespace, scratch: Path) -> Path:
    if chosen.model:
        return pull_model(chosen.model, default_models_dir(), note).folder
    return table.write_table(scratch / table.NAME)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: %(default)s)")
    parser.add_argument("--laps", type=int, default=2, help="of each run of T20 and T21 (default: %(default)s)")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES), help="of hostile feedback")
    parser.add_argument("--attacks", nargs="+", choices=ALL, default=list(ALL), help="(default: all)")
    parser.add_argument("--only-t20", action="store_true", help="leave out the flood and the thirty repairs")
    parser.add_argument("--model", help="a real model instead of the table; T24 is for the table")
    parser.add_argument("--threads", type=int, default=processors(), help="of the server (default: %(default)s)")
    return parser


if __name__ == "__main__":
    main()
