"""The loop learns from simulated people, and no promotion is truly worse.

    python -m benchmarks.loop.simulate --seed 1 --laps 3 --noise 0.2 --hostile 0.3 --tasks facts,style,sums

People with hidden tastes and known truth talk over HTTP to `anubhav serve` for as many days as there are laps. Rivals
learn from the same records, each through the stock Tinker SDK. The last line is one JSON object. --quick takes at most
ten minutes on two cores and measures little; --table runs over a table instead of a model, to see that everything runs.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from anubhav.app import pull_model
from anubhav.settings import default_models_dir
from benchmarks.loop import records, table
from benchmarks.loop.line import Line
from benchmarks.loop.methods.rivals import METHODS
from benchmarks.loop.people.raters import ATTACKS
from benchmarks.loop.people.tasks import TASKS
from benchmarks.loop.simulation import Plan, Simulation, baselines, general, kept
from benchmarks.loop.truths import lift_figures, reward_figures
from benchmarks.stand.machine import commit, describe, hold_to, processors
from benchmarks.stand.model import NAME
from benchmarks.stand.processes import note
from benchmarks.stand.servers import KEY, ours

CLAIM = "From simulated people's feedback the alias truly gets better, and no promotion is truly worse."
_TASKS = "facts,style,sums"
_QUICK_EXAM = 0.4


def main(words: list[str] | None = None) -> None:
    signal.signal(signal.SIGTERM, leave)
    chosen = _options().parse_args(words)
    hold_to(chosen.threads)
    plan = plan_of(chosen)
    with tempfile.TemporaryDirectory(prefix="anubhav-loop-") as scratch:
        folder = _folder(chosen, Path(scratch))
        with ours(folder, Path(scratch), chosen.dtype) as server:
            print(json.dumps(simulate(plan, server.url, KEY, folder, chosen)), flush=True)


def leave(number: int, _: object) -> None:
    """A polite kill ends the server too."""
    sys.exit(128 + number)


def simulate(plan: Plan, url: str, key: str, folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """The whole simulation against a running server, as the JSON object that tells of it."""
    started = time.monotonic()
    line = Line(url, key)
    try:
        run = Simulation.open(plan, line, folder)
        try:
            run.run()
        except SystemExit:
            # A run that is told to end says what it knows, once there is a lap to tell of.
            if not run.table:
                raise
        if chosen.record:
            records.write(run.records, chosen.record)
        return outcome(run, chosen, time.monotonic() - started)
    finally:
        line.close()


def outcome(run: Simulation, chosen: argparse.Namespace, seconds: float) -> dict[str, Any]:
    told, plan = run.table, run.plan
    return {
        "claim": CLAIM,
        "machine": describe(chosen.threads),
        "commit": commit(),
        "model": table.NAME if chosen.table else chosen.model,
        "seed": plan.seed,
        "settings": {
            "laps": plan.laps,
            "noise": plan.noise,
            "hostile": plan.hostile,
            "lazy": plan.lazy,
            "people": plan.people,
            "attack": plan.attack or "mixed",
            "tasks": list(plan.tasks),
            "pace": plan.pace,
            "exam": plan.exam,
            "dtype": chosen.dtype,
            "holdback": plan.holdback,
        },
        "success_before": told[0]["base_success"],
        "success_after": told[-1]["success"],
        "win_rate": told[-1]["win_rate"],
        "baseline_success": {**dict.fromkeys(METHODS), **baselines(told)},
        "baseline_compute": {
            "ours": sum(row["lap_tokens"] for row in told),
            **{name: rival.told() for name, rival in run.rivals.items()},
        },
        "general_knowledge": general(told),
        "cut_short": len(told) < plan.laps,
        "promotions": sum(row["promoted"] for row in told),
        "truly_worse_promotions": sum(row["truly_worse"] for row in told),
        "repairs_kept": kept(told),
        **lift_figures(run),
        **reward_figures(run),
        "events": sum(row["feedback"] for row in told),
        "laps": told,
        "seconds": round(seconds, 1),
    }


def plan_of(chosen: argparse.Namespace) -> Plan:
    tasks = tuple(name for name in chosen.tasks.split(",") if name)
    rivals = ("sft" if chosen.quick else ",".join(METHODS)) if chosen.methods is None else chosen.methods
    methods = tuple(name for name in rivals.split(",") if name)
    if unknown := [name for name in tasks if name not in TASKS] + [name for name in methods if name not in METHODS]:
        sys.exit(f"{unknown[0]} is unknown. Tasks: {', '.join(TASKS)}. Methods: {', '.join(METHODS)}.")
    return Plan(
        chosen.seed,
        chosen.laps or (2 if chosen.quick else 3),
        tasks,
        chosen.noise,
        chosen.hostile,
        chosen.lazy,
        chosen.people,
        chosen.attack,
        methods,
        "tiny" if chosen.table else "quick" if chosen.quick else "full",
        _QUICK_EXAM if chosen.quick else 1.0,
        holdback=chosen.holdback,
    )


def _folder(chosen: argparse.Namespace, scratch: Path) -> Path:
    if chosen.table:
        return table.write_table(scratch / table.NAME)
    return pull_model(chosen.model, default_models_dir(), note).folder


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="draws everything (default: %(default)s)")
    parser.add_argument("--laps", type=int, help="days, each ending in a lap (default: 3, or 2 with --quick)")
    parser.add_argument("--tasks", default=_TASKS, help=f"of {','.join(TASKS)} (default: %(default)s)")
    parser.add_argument("--noise", type=_share, default=0.0, help="share of honest reactions turned round")
    parser.add_argument("--hostile", type=_share, default=0.0, help="share of the feedback, from a tenth of the raters")
    parser.add_argument("--lazy", type=_share, default=0.2, help="share of the raters (default: %(default)s)")
    parser.add_argument("--people", type=int, default=20, help="raters (default: %(default)s)")
    parser.add_argument("--attack", choices=(*ATTACKS, "sybil"), help="of all hostile raters (default: one each)")
    parser.add_argument("--methods", help=f"rivals, may be empty (default: {','.join(METHODS)}; sft with --quick)")
    parser.add_argument("--holdback", type=_share, default=0.0, help="share of people whom the frozen base answers")
    parser.add_argument("--quick", action="store_true", help="fewer questions and two fifths of the test")
    parser.add_argument("--table", action="store_true", help="over a table instead of a model")
    parser.add_argument("--model", default=NAME, help="catalogue name or folder (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", help="the server computes in (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=processors(), help="of the server (default: %(default)s)")
    parser.add_argument("--record", type=Path, help="write what was said here, a JSON line for each question")
    return parser


def _share(word: str) -> float:
    value = float(word)
    if not 0 <= value <= 0.9:
        raise argparse.ArgumentTypeError("give a share from 0 to 0.9")
    return value


if __name__ == "__main__":
    main()
