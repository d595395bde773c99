"""Weights & Biases. Its own variables say where to: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE, WANDB_API_KEY."""

import importlib
import os
from pathlib import Path
from typing import Any

from anubhav.trackers.naming import PROJECT, track_name
from anubhav.trackers.open_runs import OpenRuns
from anubhav.types.tracking import Track


class WandbTracker(OpenRuns):
    name = "wandb"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def begin(self, track: Track) -> Any:
        wandb: Any = importlib.import_module("wandb")
        place = self._folder / "wandb"
        place.mkdir(parents=True, exist_ok=True)
        # Neither what the server prints nor its code and machine is for others to see.
        settings = wandb.Settings(
            silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True, x_disable_meta=True
        )
        name = track_name(track.id)
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        return wandb.init(
            project=project, id=name, name=name, config=dict(track.facts), dir=place, resume="allow",
            reinit="create_new", settings=settings,
        )  # fmt: skip
