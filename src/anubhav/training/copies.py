"""Checkpoints that their run has not trained: copies, which share the files of their source, and what was made of
adapters from elsewhere. Each has a run of its own, which holds nothing else and cannot be trained.
"""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anubhav.errors import BadInput, Gone, NotAllowed, NotFound
from anubhav.ports import Trainer
from anubhav.store import checkpoints as shelf
from anubhav.store import runs
from anubhav.store.database import Connection, Database
from anubhav.store.runs import RunRow
from anubhav.training.checkpoints import Checkpoints, adapter_id
from anubhav.training.quotas import check_storage
from anubhav.types.checkpoints import Checkpoint, TinkerPath
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.training import LoraSpec


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
    source, manifest = found
    check_storage(connection, wanted.tenant, source.size_bytes)
    session = _session(connection, wanted, spare)
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


@dataclass(frozen=True, slots=True)
class Foundling:
    tenant: str
    base_model: str
    path: TinkerPath
    """In a run, and a session, that do not exist yet."""
    origin: str
    """Where it comes from, in a word; its session has it as a tag."""
    key: str | None = None
    """An idempotency key, to be found by later."""


async def hold(
    database: Database,
    checkpoints: Checkpoints,
    trainer: Trainer,
    found: Foundling,
    bring: Callable[[AdapterId], Awaitable[None]],
    also: Callable[[Connection], None] = lambda connection: None,
) -> None:
    """Keep as a checkpoint what `bring` makes of a new adapter of the trainer; `also` joins the transaction."""
    run = found.path.run
    adapter = AdapterId(run)

    async def fill(to: Path) -> None:
        await bring(adapter)
        await trainer.save(adapter, to, optimizer=False)

    try:
        folder, manifest, size = await checkpoints.write("checkpoints", fill)
    finally:
        await trainer.drop(adapter)
    spec, now = read_spec(checkpoints.path_of(folder)), time.time()
    row = RunRow(run, run.rpartition(":train:")[0], found.tenant, found.base_model, spec, {}, now, now)
    kept = Checkpoint(
        found.path,
        found.tenant,
        found.base_model,
        spec,
        adapter_id(manifest),
        folder,
        has_optimizer=False,
        size_bytes=size,
        created_at=now,
    )

    def record(connection: Connection) -> None:
        check_storage(connection, found.tenant, size)
        runs.add_session(connection, row.session, found.tenant, ([found.origin], {}, ""), None)
        runs.add_run(connection, replace(row, source=found.origin), copied_as=found.key)
        shelf.add(connection, kept, manifest)
        also(connection)

    try:
        await database.run(record)
    except NotAllowed:
        await checkpoints.drop_folder(folder)
        raise


def read_spec(folder: Path) -> LoraSpec:
    """The shape of an adapter that a trainer has saved."""
    raw: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    modules = set(raw["target_modules"])
    return LoraSpec(
        rank=int(raw["r"]),
        alpha=float(raw["lora_alpha"]),
        train_attn=bool(modules & {"q_proj", "o_proj"}),
        train_mlp="gate_proj" in modules,
        train_unembed="lm_head" in modules,
    )
