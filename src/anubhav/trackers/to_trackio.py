"""Trackio. Its own variables say where to: TRACKIO_PROJECT, TRACKIO_DIR, TRACKIO_SERVER_URL, TRACKIO_SPACE_ID."""

import importlib
import os
from contextvars import Context
from typing import Any

from anubhav.trackers.naming import PROJECT, track_name
from anubhav.trackers.open_runs import OpenRuns
from anubhav.types.tracking import Track


class TrackioTracker(OpenRuns):
    name = "trackio"

    def begin(self, track: Track) -> Any:
        trackio: Any = importlib.import_module("trackio")

        def begin() -> Any:
            return trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", PROJECT), name=track_name(track.id),
                config=dict(track.facts), resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

        # It would end the run that was begun before in this context.
        return Context().run(begin)
