"""Trackio. Its own variables say where to: TRACKIO_PROJECT, TRACKIO_DIR, TRACKIO_SERVER_URL, TRACKIO_SPACE_ID."""

import importlib
import os
from collections.abc import Sequence
from contextvars import Context
from typing import Any

from anubhav.trackers.naming import PROJECT, named, track_name
from anubhav.types.tracking import Track, TrackRow


class TrackioTracker:
    name = "trackio"

    def __init__(self) -> None:
        self._runs: dict[str, Any] = {}

    def log(self, track: Track, rows: Sequence[TrackRow]) -> None:
        run = self._runs.get(track.id) or self._begin(track)
        for row in rows:
            run.log(named(row), step=row.step)

    def end(self, track: str) -> None:
        if run := self._runs.pop(track, None):
            run.finish()

    def _begin(self, track: Track) -> Any:
        trackio: Any = importlib.import_module("trackio")

        def begin() -> Any:
            return trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", PROJECT), name=track_name(track.id),
                config=dict(track.facts), resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

        # It would end the run that was begun before in this context.
        self._runs[track.id] = run = Context().run(begin)
        return run
