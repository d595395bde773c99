"""Copies of checkpoints: a run of their own that holds one checkpoint, shares its files and cannot be trained."""

import time
from dataclasses import dataclass, replace

from anubhav.errors import BadInput, Gone, NotFound
from anubhav.store import checkpoints as shelf
from anubhav.store import runs
from anubhav.store.database import Connection
from anubhav.store.runs import RunRow
from anubhav.types.checkpoints import TinkerPath
from anubhav.types.ids import RunId


@dataclass(frozen=True, slots=True)
class Copy:
    tenant: str
    source: TinkerPath
    """Already known to be readable for whoever asked."""
    key: str | None = None
    """An idempotency key: the same one gives the same copy."""
    run: RunId | None = None
    """The run to make, in a session there is; None: one in a session of its own."""
    project: str | None = None
    """Of the session that is made."""
    ttl: int | None = None


def copy(connection: Connection, wanted: Copy, spare: str) -> str:
    """Make it, or find the one made before; returns its path. `spare` names the session if one must be made.

    All of it belongs into one transaction, so that the files shared cannot go meanwhile.
    """
    key = f"{wanted.tenant}:{wanted.key}" if wanted.key else None
    run = wanted.run or RunId(f"{spare}:train:0")
    if made := runs.find_copy(connection, key, run):
        if (made.source, made.tenant) != (str(wanted.source), wanted.tenant):
            raise BadInput("This copy's number or key was used for something else", hint="Give it one of its own.")
        return str(replace(wanted.source, run=made.id))
    found = shelf.find(connection, str(wanted.source))
    if found is None:
        raise NotFound(f"There is no checkpoint {wanted.source}", hint="List yours with `tinker checkpoint list`.")
    session = _session(connection, wanted, spare)
    source, manifest = found
    now = time.time()
    row = RunRow(run, session, wanted.tenant, source.base_model, source.spec, {}, now, now, source=str(wanted.source))
    runs.add_run(connection, row, copied_as=key)
    path = replace(wanted.source, run=run)
    until = None if wanted.ttl is None else now + wanted.ttl
    own = replace(source, path=path, tenant=wanted.tenant, created_at=now, expires_at=until, public=False)
    shelf.add(connection, own, manifest)
    return str(path)


def _session(connection: Connection, wanted: Copy, spare: str) -> str:
    if wanted.run is None:
        runs.add_session(connection, spare, wanted.tenant, (["copy"], {}, ""), None)
        runs.describe_session(connection, spare, wanted.project, None)
        return spare
    session = wanted.run.rpartition(":train:")[0]
    found = runs.find_session(connection, session)
    if found is None or found.tenant != wanted.tenant:
        raise NotFound(f"There is no session {session[:100]}", hint="Create a session first.")
    if found.finished is not None:
        raise Gone(f"The session {session} was finished", hint="Create another session.")
    return session
