"""The scribe: writes what runs and laps measured into metrics.jsonl, and hands it to the trackers that were asked for.

Runs are read from the journal behind what is in their file, so a full disk or a crash leaves no row out of it. Whoever
tells the scribe does not wait.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile

from anubhav.trackers.courier import Courier
from anubhav.trackers.metrics_file import MetricsFile
from anubhav.training.runbook import RunBook
from anubhav.types.experience import Lap
from anubhav.types.looking import Measured, RunHead
from anubhav.types.tracking import Track, TrackRow

_PAGE = 200
_PAUSE = 30.0
"""Seconds between attempts while the file cannot be written."""
_FAREWELL = 5.0
"""Seconds for each tracker at the end."""
log = logging.getLogger(__name__)


class Scribe:
    def __init__(self, book: RunBook, file: MetricsFile, couriers: Sequence[Courier] = ()) -> None:
        self._book, self._file, self._couriers = book, file, couriers
        self._at: dict[str, int] = {}
        """How far each run is written."""
        self._due: dict[str, bool] = {}
        """Runs with something new, and whether they have ended."""
        self._laps: deque[tuple[Track, TrackRow, bool]] = deque()
        self._steps: dict[str, int] = {}
        self._wake, self._stopping = asyncio.Event(), asyncio.Event()
        self._troubled = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="metrics of runs")

    async def stop(self) -> None:
        """Write what there is."""
        # Not cancelled: a line that is being written in another thread would be written twice.
        self._stopping.set()
        self._wake.set()
        if self._task:
            await self._task
        for courier in self._couriers:
            await asyncio.to_thread(courier.close, _FAREWELL)

    def tell(self, run: str, *, ended: bool = False) -> None:
        """Something was measured, or it has ended."""
        self._due[run] = ended or self._due.get(run, False)
        self._wake.set()

    def tell_lap(self, lap: Lap, facts: Mapping[str, object], ended: bool) -> None:  # noqa: FBT001 - releases.laps.Told
        """The numbers among the facts are a row of the lap."""
        numbers = {"batch" if name == "step" else name: value for name, value in _numbers(facts)}
        if numbers or ended:
            step = self._steps[lap.id] = self._steps.get(lap.id, -1) + 1
            row = TrackRow(step, lap.phase, time.time(), numbers)
            self._laps.append((Track(lap.id, {"alias": lap.alias, "created_at": lap.started_at}), row, ended))
            self._wake.set()
        if ended:
            self._steps.pop(lap.id, None)

    async def _work(self) -> None:
        await self._try(self._catch_up())
        while True:
            await self._wake.wait()
            self._wake.clear()
            done = await self._drain()
            # What was told meanwhile woke it again, and is written before it stops.
            if self._stopping.is_set() and not (done and self._wake.is_set()):
                return
            if not done:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _PAUSE)
                self._wake.set()

    async def _catch_up(self) -> None:
        """Write what a crash or a restored backup left out of the files; trackers are told nothing of it."""
        before = None
        while page := await self._book.page(None, before, _PAGE):
            for head in page:
                if self._stopping.is_set():
                    return
                if not head.ended or not await asyncio.to_thread(self._file.has, head.id):
                    await self._write(head, ())
            before = page[-1].position

    async def _drain(self) -> bool:
        """False: something could not be written now, and waits."""
        done = await self._try(self._write_laps())
        for run in list(self._due):
            done = await self._try(self._write_run(run)) and done
        if done:
            self._troubled = False
        return done

    async def _try(self, work: Coroutine[None, None, None]) -> bool:
        try:
            await work
        except Exception as problem:  # noqa: BLE001 - whatever is wrong with a file, training goes on
            self._complain(problem)
            return False
        return True

    async def _write_run(self, run: str) -> None:
        ended = self._due.pop(run)
        try:
            await self._write(await self._book.find(None, run), self._couriers)
        except Exception:
            self.tell(run, ended=ended)
            raise
        if ended:
            self._at.pop(run, None)
            for courier in self._couriers:
                courier.end(run)

    async def _write(self, head: RunHead, couriers: Sequence[Courier]) -> None:
        track = _track(head)
        at = self._at.get(head.id)
        if at is None:
            at = await asyncio.to_thread(self._file.begin, track)
        while found := await self._book.measured(head.id, at, _PAGE):
            settled = list(takewhile(lambda one: one.state != "pending", found))
            if rows := [_row(one) for one in settled if one.metrics]:
                await asyncio.to_thread(self._file.append, head.id, rows)
                for courier in couriers:
                    courier.log(track, rows)
            at = self._at[head.id] = settled[-1].seq if settled else at
            if len(settled) < _PAGE:
                break

    async def _write_laps(self) -> None:
        while self._laps:
            track, row, ended = self._laps[0]
            if row.step == 0:
                await asyncio.to_thread(self._file.begin, track)
            await asyncio.to_thread(self._file.append, track.id, [row])
            self._laps.popleft()
            for courier in self._couriers:
                courier.log(track, [row])
                if ended:
                    courier.end(track.id)

    def _complain(self, problem: Exception) -> None:
        if not self._troubled:
            self._troubled = True
            log.warning(
                "metrics.jsonl cannot be written now (%s); the journal has it all, and it is written later. Is there "
                "room in the data folder?",
                type(problem).__name__,
            )


def _track(head: RunHead) -> Track:
    facts = {"tenant": head.tenant, "base_model": head.base_model, "rank": head.rank, "optimizer": head.optimizer}
    return Track(head.id, {**facts, "created_at": head.created_at})


def _row(one: Measured) -> TrackRow:
    more = {"seconds": one.seconds or 0.0} | ({"tokens": float(one.tokens)} if one.tokens else {})
    return TrackRow(one.seq, one.kind, one.at + (one.seconds or 0.0), {**one.metrics, **more})


def _numbers(facts: Mapping[str, object], path: str = "") -> list[tuple[str, float]]:
    """The numbers among facts, those within others under `outer/inner`."""
    found: list[tuple[str, float]] = []
    for name, value in facts.items():
        if isinstance(value, bool | int | float):
            found.append((path + name, float(value)))
        elif isinstance(value, Mapping):
            inner: Mapping[str, object] = value  # pyright: ignore[reportUnknownVariableType]
            found += _numbers(inner, f"{path}{name}/")
    return found
