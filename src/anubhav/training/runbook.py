"""The run book: runs as they are looked at, and what each of their operations measured."""

from anubhav.errors import AnubhavError, NotFound
from anubhav.store import looking
from anubhav.store.database import Database
from anubhav.store.looking import OpGlance
from anubhav.training.promises import Created, Loaded, Saved, Stepped, read_outcome
from anubhav.training.refusals import REFUSAL, VOID
from anubhav.types.looking import Event, Measured, RunHead
from anubhav.types.training import PassResult


class RunBook:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: str | None, before: int | None, limit: int) -> list[RunHead]:
        """Newest first; every tenant's when `tenant` is None."""
        return await self._database.run(lambda c: looking.heads(c, tenant, before, limit))

    async def find(self, tenant: str | None, run: str) -> RunHead:
        found = await self._database.run(lambda c: looking.head(c, tenant, run))
        if found is None:
            raise NotFound(f"There is no training run {run[:100]}", hint="List them: GET /v1/runs.")
        return found

    async def measured(self, run: str, after: int | None, limit: int) -> list[Measured]:
        """In the order of the run, those behind `after`; the last ones when it is None."""
        return [_measured(one) for one in await self._database.run(lambda c: looking.ops(c, run, after, limit))]

    async def events(self, run: str, limit: int) -> list[Event]:
        """What happened to it besides passes and steps, and what failed of those; newest first."""
        return [_event(one) for one in await self._database.run(lambda c: looking.events(c, run, limit))]


def _event(op: OpGlance) -> Event:
    outcome = read_outcome(op.result) if op.result else None
    what, cause = "waits", op.kind
    match outcome:
        case AnubhavError():
            what, cause = "refused" if op.kind == REFUSAL else "failed", f"{_named(op.kind)}{outcome}"
        case Created():
            what, cause = "begun", "from a fresh adapter"
        case Loaded():
            what, cause = "loaded", outcome.path
        case Saved():
            what, cause = "saved", outcome.path
        case _:
            pass
    return Event(op.seq, what, op.done_at or op.created_at, cause)


def _named(kind: str) -> str:
    return "" if kind in (REFUSAL, VOID) else f"{kind}: "


def _measured(op: OpGlance) -> Measured:
    outcome = read_outcome(op.result) if op.result else None
    metrics = outcome.metrics if isinstance(outcome, PassResult | Stepped) else {}
    failure = str(outcome) if isinstance(outcome, AnubhavError) else ""
    seconds = None if op.done_at is None else op.done_at - op.created_at
    return Measured(op.seq, op.kind, op.state, op.created_at, seconds, op.tokens, metrics, failure)
