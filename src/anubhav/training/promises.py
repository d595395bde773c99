"""Promises: who waits for a result is woken the moment it is stored, never by looking again and again."""

import asyncio
from dataclasses import dataclass
from typing import cast

import msgspec

from anubhav import errors
from anubhav.errors import AnubhavError, NotFound
from anubhav.store import runs
from anubhav.store.database import Database
from anubhav.types.arrays import Array
from anubhav.types.distilling import Distilled
from anubhav.types.ids import RunId
from anubhav.types.training import PassResult


@dataclass(frozen=True, slots=True)
class Created:
    run: RunId


@dataclass(frozen=True, slots=True)
class Loaded:
    path: str


@dataclass(frozen=True, slots=True)
class Saved:
    path: str
    sampler: str | None = None


@dataclass(frozen=True, slots=True)
class Stepped:
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Blended:
    path: str
    sources: tuple[str, ...]
    shares: tuple[float, ...]


Outcome = PassResult | Created | Loaded | Saved | Stepped | Blended | Distilled | AnubhavError
_KINDS: dict[str, type] = {kind.__name__: kind for kind in (Created, Loaded, Saved, Stepped, Blended, Distilled)}


@dataclass(frozen=True, slots=True)
class _Failure:
    kind: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Pass:
    """PassResult without its failure, which is stored as a failure of its own."""

    logprobs: tuple[tuple[str, tuple[int, ...], bytes], ...]
    metrics: dict[str, float]


def write_outcome(outcome: Outcome) -> bytes:
    """An outcome for the journal, its kind in front."""
    if isinstance(outcome, AnubhavError):
        body: object = _Failure(_kind_of(outcome), outcome.message, outcome.hint)
        return b"Failure:" + msgspec.msgpack.encode(body)
    if isinstance(outcome, PassResult):
        body = _Pass(tuple((a.dtype, a.shape, a.data) for a in outcome.logprobs), dict(outcome.metrics))
        return b"PassResult:" + msgspec.msgpack.encode(body)
    return type(outcome).__name__.encode() + b":" + msgspec.msgpack.encode(outcome)


def read_outcome(stored: bytes) -> Outcome:
    name, _, body = stored.partition(b":")
    if name == b"Failure":
        failure = msgspec.msgpack.decode(body, type=_Failure)
        return getattr(errors, failure.kind, errors.Broken)(failure.message, hint=failure.hint)
    if name == b"PassResult":
        found = msgspec.msgpack.decode(body, type=_Pass)
        return PassResult(tuple(Array(d, s, b) for d, s, b in found.logprobs), found.metrics)  # pyright: ignore[reportArgumentType]
    return cast(Outcome, msgspec.msgpack.decode(body, type=_KINDS[name.decode()]))


def _kind_of(failure: AnubhavError) -> str:
    """The nearest class of the tree: a face may have refined it for itself."""
    return next(kind.__name__ for kind in type(failure).__mro__ if getattr(errors, kind.__name__, None) is kind)


class Promises:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._hitches: dict[RunId, str] = {}

    async def wait(self, tenant: str, promise: str, timeout: float) -> Outcome | None:  # noqa: ASYNC109 - a long poll
        """The outcome, or None if it is not there within so many seconds. NotFound: no such promise of this tenant."""
        found = await self._find(tenant, promise)
        if found is not None or timeout <= 0:
            return found
        future = self._waiting.setdefault(promise, asyncio.get_running_loop().create_future())
        # It may have been stored between the first look and the line above, which nobody would tell us.
        if found := await self._find(tenant, promise):
            self.keep(promise, found)
            return found
        done, _ = await asyncio.wait([future], timeout=timeout)
        return future.result() if done else None

    async def _find(self, tenant: str, promise: str) -> Outcome | None:
        row = await self._database.run(lambda c: runs.find_promise(c, tenant, promise))
        if row is None:
            raise NotFound("There is no such promise", hint="Ask with a request_id this server gave you.")
        return read_outcome(row.result) if row.result is not None else None

    def hitch(self, run: RunId) -> str | None:
        """What keeps the run from going on, if anything but work does."""
        return self._hitches.get(run)

    def tell_hitch(self, run: RunId, reason: str | None) -> None:
        if reason is None:
            self._hitches.pop(run, None)
        else:
            self._hitches[run] = reason

    def keep(self, promise: str, outcome: Outcome) -> None:
        """The outcome is stored: hand it to everybody who waits for it."""
        if future := self._waiting.pop(promise, None):
            future.set_result(outcome)
