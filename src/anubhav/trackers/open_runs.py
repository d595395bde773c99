"""What trackers have in common whose library holds a run open: one for each track, begun with its first rows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from anubhav.trackers.naming import named
from anubhav.types.tracking import Track, TrackRow


class OpenRuns(ABC):
    def __init__(self) -> None:
        self._runs: dict[str, Any] = {}

    @abstractmethod
    def begin(self, track: Track) -> Any:
        """The library's run of this track, from before a restart if there is one."""

    def log(self, track: Track, rows: Sequence[TrackRow]) -> None:
        if track.id not in self._runs:
            self._runs[track.id] = self.begin(track)
        for row in rows:
            self._runs[track.id].log(named(row), step=row.step)

    def end(self, track: str) -> None:
        if run := self._runs.pop(track, None):
            run.finish()
