"""The report on memory: one table a benchmark, targets that are met or not, and what was not run."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory import plots, report

COMMON: dict[str, Any] = {"machine": {"processor": "a processor"}, "commit": "0123456789abcdef"}


def marks(evidence: float, **more: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"bounded": True, "outside": False, "peak_tokens": 4000, "conversations": 5, **more}
    for kind in ("evidence", "whole", "words", "coverage"):
        told |= {kind: evidence, f"{kind}_interval": [evidence - 2, evidence + 2]}
    return told


def course(facts: float, late: float | None) -> dict[str, Any]:
    points = [{"turns": 100, "facts": 90.0, "tokens": 500}, {"turns": 1000, "facts": facts, "tokens": 505}]
    told: dict[str, Any] = {"leaks": 0, "invented": 0, "peak_tokens": 512, "checkpoints": points}
    for kind in ("facts", "last_value"):
        told |= {kind: facts, f"{kind}_interval": [facts - 5, facts]}
    slower = late / 0.002 if late else None
    times = {"seconds_early": 0.002, "seconds_late": late, "late_over_early": slower}
    return {**told, **times, "bounded": True, "outside": False}


LOCOMO = {
    "benchmark": "memory.locomo",
    "claim": {"above_all": True, "evidence": 45.0, "coverage": 65.0, "met": True},
    "budget": 4096,
    "tokens": "words",
    "surprise": False,
    "policies": {
        "diffusion-fixed": marks(66.0),
        "recency": marks(17.2),
        "bm25": marks(70.0, outside=True),
        "minilm": {"not_run": "vectors need a package"},
    },
    **COMMON,
}
LIVES = {
    "benchmark": "memory.lives",
    "claim": {},
    "seed": 1,
    "lives": 5,
    "turns": 1000,
    "budget": 512,
    "facts": 16,
    "domains": ["home", "work"],
    "policies": {"diffusion-fixed": course(92.0, 0.0021), "recency": course(12.0, 0.001)},
    **COMMON,
}
LEARNED = {
    "benchmark": "memory.learned",
    "claim": {"gain": 10.0, "met": False},
    "turns": 600,
    "facts": 20,
    "train": ["home"],
    "held_out": ["food"],
    "budgets": [{"budget": 192, "lives": 12, "learned": 70.0, "fixed": 65.0, "gain": 5.0, "gain_interval": [2.0, 8.0]}],
    **COMMON,
}
ARM = {"p50_s": 0.4, "p95_s": 0.5, "added_p50_s": 0.1, "prompt_tokens": 1900}
LATENCY = {"benchmark": "memory.latency", "budget": 2048, "arms": {"no memory": ARM, "prefix kept": ARM}, **COMMON}


def row(rows: list[tuple[str, ...]], name: str) -> tuple[str, ...]:
    return next(cells for cells in rows if name in cells[0])


def test_a_later_run_with_the_same_settings_replaces_its_policies_alone() -> None:
    again = {"policies": {"diffusion-fixed": marks(16.0)}, "claim": {"above_all": True}, "commit": "fedcba"}
    other = {**LOCOMO, "budget": 1024}
    one, two = report.joined([LOCOMO, other, {**LOCOMO, **again}])
    assert {name: each.get("evidence") for name, each in one["policies"].items()} == {
        "diffusion-fixed": 16.0, "recency": 17.2, "bm25": 70.0, "minilm": None,
    }  # fmt: skip
    assert (one["claim"]["above_all"], one["claim"]["met"]) == (False, False)
    assert one["commits"] == ["0123456789abcdef", "fedcba"]
    assert two["policies"] == other["policies"]


def test_targets_are_met_or_not_by_each_policy_of_ours() -> None:
    lives = {**LIVES, "policies": {**LIVES["policies"], "diffusion-learned": course(88.0, None)}}
    told = report.targets([LOCOMO, lives, LEARNED])
    assert row(told, "learned: facts")[1:] == ("≥ 90 %", "88.0 %", "no")
    assert row(told, "evidence/coverage")[1:] == ("≥ 45/65", "66.0/66.0", "yes")
    assert row(told, "by hand: facts")[1:] == ("≥ 90 %", "92.0 %", "yes")
    assert row(told, "last value")[3] == "no"
    assert row(told, "by recency")[3] == "yes"
    assert row(told, "late ÷ early")[2:] == ("1.05", "yes")
    assert row(told, "learned over fixed")[2:] == ("+5.0 at 192 (2.0 … 8.0)", "no")


def test_the_page_has_a_table_for_each_benchmark(tmp_path: Path) -> None:
    file = tmp_path / "runs.txt"
    file.write_text("· said in between\n" + "\n".join(map(json.dumps, (LOCOMO, LIVES, LEARNED, LATENCY))) + "\n[1]\n")
    (tmp_path / "notes.md").write_text("On a shared machine.\n")
    report.main([str(file), str(tmp_path / "notes.md"), "--out", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text()
    for head in ("## Targets", "## LoCoMo, 4096", "## Lives of 1000", "## Learned against", "## What memory adds"):
        assert head in page
    assert "bm25 (outside)" in page and "On a shared machine." in page
    assert "minilm was not run: vectors need a package." in page


def test_without_a_run_there_is_no_page(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("nothing\n")
    with pytest.raises(SystemExit, match="None of these files"):
        report.main([str(tmp_path / "empty.txt")])


def test_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = plots.draw([LIVES], tmp_path / "images")
    assert [file.name for _, file in drawn] == ["memory-facts.svg", "memory-tokens.svg", "memory-time.svg"]
    assert all(file.read_text().startswith("<?xml") for _, file in drawn)
