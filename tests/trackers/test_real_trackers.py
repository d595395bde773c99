"""The adapters against the real libraries, each storing on this machine; skipped where they are not installed.

pip install trackio wandb mlflow-skinny sqlalchemy alembic
"""

import importlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anubhav.ports import Tracker
from anubhav.trackers.to_mlflow import MlflowTracker
from anubhav.trackers.to_trackio import TrackioTracker
from anubhav.trackers.to_wandb import WandbTracker
from anubhav.types.tracking import Track, TrackRow

RUN = Track("ses_1:train:0", {"base_model": "tiny", "rank": 4})
OTHER = Track("ses_1:train:1", {"base_model": "tiny", "rank": 8})

pytestmark = pytest.mark.filterwarnings("default")


def rows(*steps: int) -> list[TrackRow]:
    return [TrackRow(step, "Compute", 1000.0 + step, {"loss:sum": 1.0 / step}) for step in steps]


def tell(make: Any) -> None:
    """Two runs in turns, then the first again after a restart."""
    tracker: Tracker = make()
    tracker.log(RUN, rows(1, 2))
    tracker.log(OTHER, rows(1))
    tracker.log(RUN, rows(3))
    for track in (RUN, OTHER):
        tracker.end(track.id)
    tracker.end("never-begun")
    tracker = make()
    tracker.log(RUN, rows(4))
    tracker.end(RUN.id)


def records(data: bytes) -> Iterator[bytes]:
    """Of a file in LevelDB's log format, behind wandb's own seven bytes."""
    at, part = 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield part
            part = b""


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    tell(MlflowTracker)
    client = importlib.import_module("mlflow").MlflowClient()
    experiment = client.get_experiment_by_name("anubhav")
    found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(found) == {"ses_1-train-0", "ses_1-train-1"}
    first = found["ses_1-train-0"]
    assert (first.info.status, first.data.params["rank"]) == ("FINISHED", "4")
    history = client.get_metric_history(first.info.run_id, "compute/loss:sum")
    assert [(one.step, one.value) for one in history] == [(step, 1.0 / step) for step in (1, 2, 3, 4)]


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    pytest.importorskip("trackio")
    storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    tell(TrackioTracker)
    logs = storage.get_logs("anubhav", "ses_1-train-0")
    assert [(one["step"], one["compute/loss:sum"]) for one in logs] == [(step, 1.0 / step) for step in (1, 2, 3, 4)]
    assert [one["step"] for one in storage.get_logs("anubhav", "ses_1-train-1")] == [1]


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    tell(lambda: WandbTracker(tmp_path))
    pb = importlib.import_module("wandb.proto.wandb_internal_pb2")
    found: list[tuple[str, int]] = []
    for file in sorted((tmp_path / "wandb").rglob("*.wandb")):
        for data in records(file.read_bytes()):
            record = pb.Record.FromString(data)
            if record.HasField("history"):
                told = {"".join(one.nested_key) or one.key: json.loads(one.value_json) for one in record.history.item}
                found.append((file.stem.removeprefix("run-"), told["_step"]))
                assert told["compute/loss:sum"] == 1.0 / told["_step"]
    expected = [*(("ses_1-train-0", step) for step in (1, 2, 3, 4)), ("ses_1-train-1", 1)]
    assert sorted(found) == expected


def test_nothing_of_the_machine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("ANUBHAV_API_KEY", "tml-planted-secret-0123456789")
    tell(lambda: WandbTracker(tmp_path))
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"planted-secret" in file.read_bytes()]
