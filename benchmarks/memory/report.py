"""Several runs' last lines → one page: a table for each benchmark, every policy at the same budget, and plots.

    python -m benchmarks.memory.report benchmarks/memory/results/*.txt --out docs/memory-report.md --images docs/images

Takes the outputs of benchmarks.memory's locomo, lives, learned and latency in any mix; a .md file among them goes in as
it is. Of two runs with the same settings the later file's policies replace the earlier one's, so that policies whose
rules did not change need not run again. Plots: pip install 'anubhav[benchmarks]'.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory import locomo
from benchmarks.memory.plots import draw
from benchmarks.stand.figures import table

Run = dict[str, Any]
Row = tuple[str, ...]
_NOT = "not measured"
_RUN = ("claim", "policies", "machine", "commit", "commits")
"""What a run found, and where; all else is what it was asked."""
_OURS = {"diffusion-fixed": "by hand", "diffusion-learned": "learned"}


def main(words: list[str] | None = None) -> None:
    chosen = _options().parse_args(words)
    notes = [file.read_text(encoding="utf-8").strip() for file in chosen.files if file.suffix == ".md"]
    runs = [run for file in chosen.files if file.suffix == ".txt" for run in read(file.read_text(encoding="utf-8"))]
    if not runs:
        sys.exit("None of these files holds a line of a benchmark of memory.")
    runs = joined(runs)
    pictures = draw(kind(runs, "lives"), chosen.images) if chosen.images else []
    home = chosen.out.parent if chosen.out else Path()
    page = write(runs, [(title, picture.relative_to(home).as_posix()) for title, picture in pictures], notes)
    if chosen.out:
        chosen.out.write_text(page, encoding="utf-8")
    else:
        print(page, end="")


def read(text: str) -> list[Run]:
    """Every line that is a run's JSON object."""
    found: list[Run] = []
    for line in text.splitlines():
        try:
            said: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and str(said.get("benchmark", "")).startswith("memory."):
            found.append(said)
    return found


def joined(runs: Sequence[Run]) -> list[Run]:
    """One run for all with the same settings, with the last figures of each policy."""
    found: dict[str, Run] = {}
    for run in runs:
        asked = json.dumps({name: value for name, value in run.items() if name not in _RUN}, sort_keys=True)
        before = found.get(asked, {})
        one = found[asked] = {**run, "commits": sorted({*before.get("commits", ()), run["commit"]})}
        if "policies" in before:
            one["policies"] = {**before["policies"], **run["policies"]}
            done = {name: told for name, told in one["policies"].items() if "not_run" not in told}
            if run["benchmark"] == "memory.locomo":
                one["claim"] = locomo.claim(run["budget"], done, run["tokens"])
    return list(found.values())


def kind(runs: Sequence[Run], name: str) -> list[Run]:
    return [run for run in runs if run["benchmark"] == f"memory.{name}"]


def write(runs: Sequence[Run], pictures: Sequence[tuple[str, str]] = (), notes: Sequence[str] = ()) -> str:
    parts = [
        "# What a memory under a budget keeps",
        "Measured by `benchmarks/memory`; what each figure means stands at the head of its module. Percentages, 95 %\n"
        "intervals in brackets. Policies marked *outside* keep everything in a store beside the budget and choose\n"
        "when they see the question: an advantage that is granted. Full context has no budget. Made by\n"
        "`python -m benchmarks.memory.report`; do not edit by hand.",
        _about(runs),
        "## Targets\n\n" + table(targets(runs), ("target", "asked for", "measured", "met")),
        *(f"## How these runs were made\n\n{note}" for note in notes),
        *(_locomo(run) for run in kind(runs, "locomo")),
        *(_lives(run) for run in kind(runs, "lives")),
        *(_learned(run) for run in kind(runs, "learned")),
        *(_latency(run) for run in kind(runs, "latency")),
        *(f"## {title}\n\n![{title}]({picture})" for title, picture in pictures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def targets(runs: Sequence[Run]) -> list[Row]:
    rows: list[Row] = []
    for run in kind(runs, "locomo"):
        ours = run["policies"].get("diffusion-fixed", {})
        wanted = run["claim"]
        if "evidence" in ours and "met" in wanted:
            asked = f"≥ {wanted['evidence']:.0f}/{wanted['coverage']:.0f}"
            told = f"{ours['evidence']:.1f}/{ours['coverage']:.1f}"
            rows.append((f"LoCoMo at {run['budget']}: evidence/coverage", asked, told, _met(wanted["met"])))
        if "above_all" in wanted:
            name = f"LoCoMo at {run['budget']} ({run['tokens']}): above every bounded policy that sees no question"
            rows.append((name, "yes", "", _met(wanted["above_all"])))
    for run in kind(runs, "lives"):
        rows += _life_targets(run)
    for run in kind(runs, "learned"):
        best = max(run["budgets"], key=lambda row: row["gain"])
        told = f"{best['gain']:+.1f} at {best['budget']} ({best['gain_interval'][0]} … {best['gain_interval'][1]})"
        rows.append(
            (
                "learned over fixed, held-out domains, points",
                f"≥ +{run['claim']['gain']:.0f}",
                told,
                _met(run["claim"]["met"]),
            )
        )
    return rows


def _life_targets(run: Run) -> list[Row]:
    if run["budget"] != 512:
        return []
    rows: list[Row] = []
    only = f" ({run['domains'][0]})" if len(run["domains"]) == 1 else ""
    where = f"lives of {run['turns']}{only}, 512 tokens"
    for name, how in _OURS.items():
        ours = run["policies"].get(name, {})
        if "facts" in ours:
            rows += [(f"{where}, {how}: {text}", *row) for text, *row in _life_target(ours)]
    if "facts" in (recency := run["policies"].get("recency", {})):
        rows.append((f"{where}: facts by recency", "≤ 20 %", f"{recency['facts']} %", _met(recency["facts"] <= 20)))
    return rows


def _life_target(ours: Run) -> list[Row]:
    rows = [
        ("facts", "≥ 90 %", f"{ours['facts']} %", _met(ours["facts"] >= 90)),
        ("last value", "≥ 95 %", f"{ours['last_value']} %", _met(ours["last_value"] >= 95)),
        ("leaks", "0", str(ours["leaks"]), _met(ours["leaks"] == 0)),
        ("invented", "0", str(ours["invented"]), _met(ours["invented"] == 0)),
    ]
    if slower := ours["late_over_early"]:
        rows.append(("time of a turn, late ÷ early", "≤ 1.10", f"{slower:.2f}", _met(slower <= 1.1)))
    return rows


def _locomo(run: Run) -> str:
    kinds = ("evidence", "whole", "words", "coverage")
    rows = [
        (_name(name, one), *(_spread(one, kind) for kind in kinds), str(one["peak_tokens"]), _partly(one, run))
        for name, one in run["policies"].items()
        if "not_run" not in one
    ]
    heads = ("policy", *kinds, "most tokens", "conversations")
    counted = "words and marks" if run["tokens"] == "words" else "model tokens"
    weighed = ", words weighed by the model's surprise" if run["surprise"] else ""
    title = f"## LoCoMo, {run['budget']} tokens ({counted}{weighed})"
    return f"{title}\n\n{table(rows, heads)}{_left_out(run)}"


def _partly(one: Run, run: Run) -> str:
    most = max(other.get("conversations", 0) for other in run["policies"].values())
    return f"only {one['conversations']}" if one["conversations"] < most else ""


def _lives(run: Run) -> str:
    shares = ("facts", "last_value", "last_believed", "open", "facts_model")
    rows = [
        (
            _name(name, one),
            *(_spread(one, share) for share in shares),
            *(str(one[count]) for count in ("leaks", "invented", "peak_tokens")),
            *(f"{1000 * one[at]:.1f}" if one[at] else "" for at in ("seconds_early", "seconds_late")),
            f"{one['late_over_early']:.2f}" if one["late_over_early"] else "",
        )
        for name, one in run["policies"].items()
        if "not_run" not in one
    ]
    heads = ("policy", *shares, "leaks", "invented", "most tokens", "ms a turn, early", "late", "late ÷ early")
    title = f"## Lives of {run['turns']} messages, {run['budget']} tokens"
    about = (
        f"{run['lives']} lives from seed {run['seed']}, {run['facts']} facts each, domains {', '.join(run['domains'])}."
    )
    return f"{title}\n\n{about}\n\n{table(rows, heads)}{_left_out(run)}"


def _learned(run: Run) -> str:
    rows = [
        (
            str(row["budget"]),
            str(row["lives"]),
            f"{row['fixed']:.1f}",
            f"{row['learned']:.1f}",
            f"{row['gain']:+.1f} ({row['gain_interval'][0]} … {row['gain_interval'][1]})",
        )
        for row in run["budgets"]
    ]
    about = (
        f"Learned on lives of {', '.join(run['train'])}; tried on new lives of {', '.join(run['held_out'])}:\n"
        f"facts read right after {run['turns']} messages with {run['facts']} facts, pairwise."
    )
    heads = ("tokens", "lives", "fixed", "learned", "difference")
    return f"## Learned against fixed\n\n{about}\n\n{table(rows, heads)}"


def _latency(run: Run) -> str:
    rows = [
        (name, f"{one['p50_s']:.3f}", f"{one['p95_s']:.3f}", f"{one['added_p50_s']:+.3f}", str(one["prompt_tokens"]))
        for name, one in run["arms"].items()
    ]
    heads = ("chat", "p50 s", "p95 s", "added, p50 s", "tokens of the prompt")
    return f"## What memory adds to a turn over HTTP, {run['budget']} tokens\n\n{table(rows, heads)}"


def _name(name: str, one: Run) -> str:
    return f"{name} (outside)" if one["outside"] else name if one["bounded"] else f"{name} (no budget)"


def _spread(one: Run, kind: str) -> str:
    if kind not in one:
        return ""
    low, high = one[f"{kind}_interval"]
    return f"{one[kind]:.1f} ({low:.1f}–{high:.1f})"


def _left_out(run: Run) -> str:
    reasons = [f"{name} was not run: {one['not_run']}." for name, one in run["policies"].items() if "not_run" in one]
    return "\n\n" + "\n".join(reasons) if reasons else ""


def _about(runs: Sequence[Run]) -> str:
    machines = sorted({str(run["machine"]["processor"]) for run in runs})
    known = {one for run in runs for one in run.get("commits", (run["commit"],))}
    commits = sorted(one[:12] or "a copy without a commit" for one in known)
    return f"{len(runs)} runs on {'; '.join(machines)}, at {', '.join(commits)}."


def _met(answer: object) -> str:
    return "" if answer is None else "yes" if answer else "no"


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="outputs of benchmarks.memory, and notes")
    parser.add_argument("--out", type=Path, help="write the page here instead of printing it")
    parser.add_argument("--images", type=Path, help="draw plots into this folder, which is in or below that of --out")
    return parser


if __name__ == "__main__":
    main()
