"""Curves of a record: honest chances lie on the line, a rise shows, and the worst misses come first."""

import random

from anubhav.rewards.curves import curves
from anubhav.rewards.watch import Judged, Record


def judged(chance: float, wanted: float, seq: int = 0, *, pair: bool = False, reliable: bool = False) -> Judged:
    return Judged(chance, wanted, 0.0, (), pair, reliable, seq)


def test_honest_chances_lie_on_the_line() -> None:
    draw = random.Random(1)
    chances = [draw.random() for _ in range(400)]
    found = curves(Record([judged(one, float(draw.random() < one)) for one in chances])).calibration
    assert sum(one.n for one in found) == 400
    assert sum(one.low <= one.predicted <= one.high for one in found) >= 9
    proud = curves(Record([judged(0.95, float(draw.random() < 0.6)) for _ in range(100)])).calibration
    assert len(proud) == 1
    assert proud[0].high < proud[0].predicted


def test_a_pair_is_told_from_both_sides() -> None:
    (low, high) = curves(Record([judged(0.8, 1.0, pair=True)])).calibration
    assert (low.came, high.came, low.n, high.n) == (0.0, 1.0, 1, 1)


def test_accuracy_follows_reliable_raters_once_they_said_enough() -> None:
    crowd = [judged(0.9, 1.0) for _ in range(45)]
    told = curves(Record(crowd))
    assert [(one.back, one.accuracy, one.n) for one in told.accuracy] == [(40, 1.0, 20), (20, 1.0, 20)]
    assert not told.reliable
    trusted = [judged(0.9, 0.0, reliable=True) for _ in range(20)] + [judged(0.9, 1.0, reliable=True)] * 20
    told = curves(Record([*crowd, *trusted]))
    assert told.reliable
    assert [one.accuracy for one in told.accuracy] == [0.0, 1.0]


def test_the_worst_misses_come_first_and_only_misses() -> None:
    record = Record(
        [judged(0.9, 1.0, 1), judged(0.9, 0.0, 2), judged(0.2, 1.0, 3), judged(0.99, 0.0, 4), judged(0.9, 0.0)]
    )
    assert [(one.seq, round(one.chance, 2)) for one in curves(record).worst] == [(4, 0.01), (2, 0.1), (3, 0.2)]
    assert curves(Record()) == curves(Record([judged(0.5, 0.5)]))
