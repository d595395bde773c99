"""MLflow. Its own variables say where to: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME."""

import importlib
import os
from collections.abc import Sequence
from typing import Any

from anubhav.trackers.naming import PROJECT, named, track_name
from anubhav.types.tracking import Track, TrackRow

_TAG = "anubhav.id"
_BATCH = 1000
"""Metrics MLflow takes at once."""


class MlflowTracker:
    name = "mlflow"

    def __init__(self) -> None:
        self._client: Any = None
        self._runs: dict[str, str] = {}

    def log(self, track: Track, rows: Sequence[TrackRow]) -> None:
        entities: Any = importlib.import_module("mlflow.entities")
        run = self._runs.get(track.id) or self._begin(track)
        metrics = [
            entities.Metric(name, value, int(row.at * 1000), row.step)
            for row in rows
            for name, value in named(row).items()
        ]
        for first in range(0, len(metrics), _BATCH):
            self._client.log_batch(run, metrics=metrics[first : first + _BATCH])

    def end(self, track: str) -> None:
        if run := self._runs.pop(track, None):
            self._client.set_terminated(run)

    def _begin(self, track: Track) -> str:
        """The run of this name from before a restart, or a new one."""
        if self._client is None:
            self._client = importlib.import_module("mlflow").MlflowClient()
        experiment, name = self._experiment(), track_name(track.id)
        known = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{name}'", max_results=1)
        if known:
            run = str(known[0].info.run_id)
            self._client.update_run(run, status="RUNNING")
        else:
            run = str(self._client.create_run(experiment, run_name=name, tags={_TAG: name}).info.run_id)
            for fact, value in track.facts.items():
                self._client.log_param(run, fact, value)
        self._runs[track.id] = run
        return run

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))
