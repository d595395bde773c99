"""A courier takes rows to one tracker in a thread of its own. A tracker that fails or is slow loses rows, which are in
metrics.jsonl all the same; nobody waits for it."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from anubhav.ports import Tracker
from anubhav.types.tracking import Track, TrackRow

_MOST = 10_000
"""Errands that wait; what comes beyond is left out."""
log = logging.getLogger(__name__)


class Courier:
    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._errands: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST)
        self._troubled = False
        # A daemon: a tracker that hangs does not keep the server from ending.
        self._thread = threading.Thread(target=self._serve, name=f"tracker {tracker.name}", daemon=True)
        self._thread.start()

    def log(self, track: Track, rows: Sequence[TrackRow]) -> None:
        self._hand_in(lambda: self._tracker.log(track, rows))

    def end(self, track: str) -> None:
        self._hand_in(lambda: self._tracker.end(track))

    def close(self, seconds: float) -> None:
        """Wait so long for what is still to be told."""
        self._hand_in(None)
        self._thread.join(seconds)

    def _hand_in(self, errand: Callable[[], None] | None) -> None:
        try:
            self._errands.put_nowait(errand)
        except queue.Full:
            self._complain("is slower than what is measured, and misses some of it")

    def _serve(self) -> None:
        while errand := self._errands.get():
            try:
                errand()
            except Exception:  # noqa: BLE001 - whatever a tracker does wrong stays its own affair
                self._complain("failed", words=True)
            else:
                self._troubled = False

    def _complain(self, what: str, *, words: bool = False) -> None:
        """Once, until it works again."""
        if not self._troubled:
            self._troubled = True
            log.warning(
                "the tracker %s %s; training goes on, and metrics.jsonl has everything. Check its own settings "
                "(docs/operations.md, Trackers), or start the server without it",
                self._tracker.name, what, exc_info=words,
            )  # fmt: skip
