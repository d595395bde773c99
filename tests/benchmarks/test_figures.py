"""Medians, ratios, records as lines, tables."""

from dataclasses import replace

import pytest

from benchmarks.stand.figures import Figure, Record, compared, from_line, number, table, to_line, to_row


def measured() -> Record:
    ours = Figure("anubhav", [30.0, 10.0, 20.0], peak_bytes=2_500_000_000, share=0.615, share_of="GEMM float32")
    ratio, ratios = compared(ours.rounds, [10.0, 5.0, 8.0])
    peer = Figure("HF", [10.0, 5.0, 8.0])
    return Record("sft", "8×256", "tokens/s", ours, peer, "", "", "HF", "float32", ratio, ratios, {"threads": 2})


def test_the_ratio_is_that_of_the_medians_and_each_round_has_its_own() -> None:
    assert compared([30.0, 10.0, 20.0], [10.0, 5.0, 8.0]) == (2.5, [3.0, 2.0, 2.5])


def test_rounds_that_were_not_taken_in_turns_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compared([1.0, 2.0], [1.0])


def test_a_record_comes_back_from_its_line() -> None:
    record = measured()
    line = to_line(record)
    assert "\n" not in line
    assert '"median": 20.0' in line
    assert from_line(line) == record
    alone = Record("decode", "all", "tokens/s", None, missing="ours", not_run="no --dtype")
    assert from_line(to_line(alone)) == alone


def test_a_row_shows_everything() -> None:
    assert to_row(measured()) == (
        "8×256, float32", "HF", "tokens/s", "20.0", "8.00", "2.50", "2.00–3.00", "62% of GEMM float32", "2.50 GB", "",
    )  # fmt: skip


@pytest.mark.parametrize(("side", "column"), [("ours", 3), ("peer", 4)])
def test_what_was_not_run_stands_where_its_figure_would(side: str, column: int) -> None:
    lacking = replace(measured(), ours=None, peer=None, ratio=None, ratios=[], missing=side, not_run="no wheel")
    row = to_row(lacking)
    assert row[column] == "not run: no wheel"
    assert row[7 - column] == ""
    assert not any(row[5:])


@pytest.mark.parametrize(("value", "shown"), [(1234.5, "1234"), (99.94, "99.9"), (9.876, "9.88"), (0.034, "0.03")])
def test_numbers_keep_about_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_table_has_even_columns_and_none_that_are_empty() -> None:
    assert table([("a", "", "1"), ("longer", "", "22")], ("case", "never", "n")).splitlines() == [
        "| case   | n  |",
        "|--------|----|",
        "| a      | 1  |",
        "| longer | 22 |",
    ]
