"""Weights & Biases. Its own variables say where to: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE, WANDB_API_KEY."""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anubhav.trackers.naming import PROJECT, named, track_name
from anubhav.types.tracking import Track, TrackRow


class WandbTracker:
    name = "wandb"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[str, Any] = {}

    def log(self, track: Track, rows: Sequence[TrackRow]) -> None:
        run = self._runs.get(track.id) or self._begin(track)
        for row in rows:
            run.log(named(row), step=row.step)

    def end(self, track: str) -> None:
        if run := self._runs.pop(track, None):
            run.finish()

    def _begin(self, track: Track) -> Any:
        wandb: Any = importlib.import_module("wandb")
        place = self._folder / "wandb"
        place.mkdir(parents=True, exist_ok=True)
        # Neither what the server prints nor its code and machine is for others to see.
        settings = wandb.Settings(
            silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True, x_disable_meta=True
        )
        name = track_name(track.id)
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self._runs[track.id] = run = wandb.init(
            project=project, id=name, name=name, config=dict(track.facts), dir=place, resume="allow",
            reinit="create_new", settings=settings,
        )  # fmt: skip
        return run
