import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from anubhav.errors import MissingPart
from anubhav.trackers import courier as couriers
from anubhav.trackers.courier import Courier
from anubhav.trackers.naming import named
from anubhav.trackers.opening import open_trackers
from anubhav.types.tracking import Track, TrackRow

RUN = Track("run", {})
ROW = TrackRow(1, "Step", 0.0, {"loss": 1.0})


class Notebook:
    """Fails for the first so many times."""

    name = "notebook"

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.told = failures, list[int]()
        self.go_on = threading.Event()
        self.go_on.set()

    def log(self, track: Track, rows: Sequence[TrackRow]) -> None:
        self.go_on.wait(5)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no key sk-very-secret")
        self.told += [row.step for row in rows]

    def end(self, track: str) -> None:
        self.told.append(-1)


def test_rows_come_in_order_and_the_rest_is_told_at_the_end() -> None:
    notebook = Notebook()
    courier = Courier(notebook)
    for step in range(5):
        courier.log(RUN, [TrackRow(step, "Step", 0.0, {})])
    courier.end("run")
    courier.close(5)
    assert notebook.told == [0, 1, 2, 3, 4, -1]


def test_a_failure_is_told_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    notebook = Notebook(failures=3)
    courier = Courier(notebook)
    for _ in range(4):
        courier.log(RUN, [ROW])
    courier.close(5)
    assert notebook.told == [1]
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "notebook failed" in record.getMessage()
    assert "metrics.jsonl has everything" in record.getMessage()
    assert "sk-very-secret" not in record.getMessage()


def test_one_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(couriers, "_MOST", 2)
    notebook = Notebook()
    notebook.go_on.clear()
    courier = Courier(notebook)
    for _ in range(10):
        courier.log(RUN, [ROW])
    courier.close(0.01)
    assert "slower" in caplog.text
    notebook.go_on.set()


def test_numbers_stand_under_their_kind() -> None:
    row = TrackRow(1, "Compute", 0.0, {"loss:sum": 2.0, "bad": float("inf")})
    assert named(row) == {"compute/loss:sum": 2.0}


def test_one_that_is_not_installed_is_refused_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anubhav.trackers.opening.find_spec", lambda name: None)
    with pytest.raises(MissingPart, match=r"pip install 'anubhav\[wandb\]'"):
        open_trackers(("wandb",), tmp_path)
    assert open_trackers((), tmp_path) == []
