"""The report: what runs told becomes a table of targets, and what was not measured is said so."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.loop import plots, report


def run(seed: int, before: float, after: float, **changes: Any) -> dict[str, Any]:
    settings = {"noise": 0.0, "hostile": 0.0, "tasks": ["facts"], **changes.pop("settings", {})}
    lap = {"success": after, "outcome": "pass", "promoted": True}
    return {
        "model": "smollm2-135m-instruct",
        "machine": {"processor": "a processor"},
        "commit": "0123456789abcdef",
        "seed": seed,
        "settings": settings,
        "success_before": before,
        "success_after": after,
        "win_rate": 0.7,
        "baseline_success": {"nothing": before, "sft": after - 0.1, "dpo": None},
        "general_knowledge": {"ours": 0.8, "nothing": 0.8, "sft": 0.5},
        "promotions": 1,
        "truly_worse_promotions": 0,
        "repairs_kept": 0.96,
        "lift_covers_truth": None,
        "ece": None,
        "reward_accuracy": None,
        "laps": [lap],
        "seconds": 120.0,
        **changes,
    }


POISON = {
    "model": "table",
    "machine": {"processor": "a processor"},
    "commit": "0123456789abcdef",
    "t20": [
        {"share": share, "attack": "flips", "runs": 4, "promoted": 3, "improved": 3, "truly_worse": worse,
         "mean_gain": 0.2, "deceived": 0.0, "quarantined": None}
        for share, worse in ((0.0, 0), (0.3, 0), (0.5, 2))
    ],
    "t21": [],
    "t24": {"kept": [0.97], "repaired": [30], "laps": [10]},
}  # fmt: skip


def row(page: list[tuple[str, ...]], name: str) -> tuple[str, ...]:
    return next(cells for cells in page if cells[0].startswith(name))


def test_the_gain_is_met_from_runs_without_noise_and_the_rest_is_held_against_it() -> None:
    noisy = [run(seed, 0.1, 0.35, settings={"noise": 0.2}) for seed in (1, 2)]
    told = report.targets([run(1, 0.1, 0.5), run(2, 0.1, 0.6), *noisy])
    assert row(told, "gain in true success")[2:] == ("+0.45 (+0.40 … +0.50, 2 runs)", "yes")
    assert row(told, "gain at 20%")[2:] == ("56% of it (2 seeds)", "no")
    assert row(told, "promotions truly worse")[2:] == ("0 of 4", "yes")
    assert row(told, "repairs kept")[3] == "yes"


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    told = [*report.targets([]), report.poisoned([])]
    assert {cells[2] for cells in told} == {"not measured"}
    assert {cells[3] for cells in told} == {""}


def test_a_wrong_promotion_and_a_lift_beside_the_truth_show() -> None:
    runs = [
        run(1, 0.1, 0.5, truly_worse_promotions=1, lift_covers_truth=True),
        run(2, 0.1, 0.5, lift_covers_truth=False),
    ]
    told = [*report.targets(runs), report.poisoned([POISON])]
    assert row(told, "promotions truly worse")[2:] == ("1 of 2", "no")
    assert row(told, "lift covers")[2:] == ("1 of 2 runs", "no")
    # At half of the feedback it is told, and is no target.
    assert row(told, "poison")[2:] == ("0 in 8 runs", "yes")


def test_the_page_has_every_section_and_only_real_models_count(tmp_path: Path) -> None:
    file = tmp_path / "runs.txt"
    lines = [run(1, 0.1, 0.5), run(2, 0.0, 0.9, model="table"), POISON]
    file.write_text("· lap 1\n" + "\n".join(map(json.dumps, lines)) + "\n{}\n[1]\n")
    (tmp_path / "notes.md").write_text("On a shared machine.\n")
    report.main([str(file), str(tmp_path / "notes.md"), "--out", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text()
    assert "## How these runs were made\n\nOn a shared machine.\n\n" in page
    for head in ("## Targets", "## Against other methods", "## Runs", "## Poison"):
        assert head in page
    assert "+0.40 (1 run)" in page
    assert "| sft | 1 | 0.50 | 0.40 | +0.10 (1 run): not shown to be ahead (fewer than 5 runs) | 0.80, 0.50 |" in page
    assert "| dpo | 0 |  |  | not measured |  |" in page
    table = page.partition("## Over a table")[2].partition("## Runs")[0]
    assert "| gain in true success, no noise | ≥ +0.30 | +0.90 (1 run) | yes |" in table
    assert "| sft | 1 | 0.90 | 0.80 |" in table
    assert "least share of earlier ones kept 0.97" in page


def test_without_a_run_there_is_no_page(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("nothing\n")
    with pytest.raises(SystemExit, match="None of these files"):
        report.main([str(tmp_path / "empty.txt")])


def test_plots_are_drawn_the_same_twice(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = [run(1, 0.1, 0.5), run(2, 0.1, 0.6, settings={"noise": 0.2})]
    drawn = plots.draw(runs, [POISON], tmp_path / "images")
    assert [file.name for _, file in drawn] == ["loop-learning.svg", "loop-methods.svg", "loop-poison.svg"]
    assert all(file.read_text().startswith("<?xml") for _, file in drawn)
