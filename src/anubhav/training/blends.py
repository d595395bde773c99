"""Blends: a checkpoint to sample from that is the weighted sum of others, made at once and exactly.

Its promise is kept when it is given, in the transaction that makes the checkpoint.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from anubhav.errors import BadInput, NotFound
from anubhav.ports import Trainer
from anubhav.store import runs
from anubhav.store.database import Connection, Database
from anubhav.store.runs import OpRow
from anubhav.training.checkpoints import Checkpoints
from anubhav.training.copies import Foundling, hold
from anubhav.training.imports import prove
from anubhav.training.limits import Limits
from anubhav.training.promises import Blended, write_outcome
from anubhav.types.checkpoints import Checkpoint, TinkerPath, checked_name
from anubhav.types.ids import AdapterId, RunId, new_id

_LARGEST = 1e3


@dataclass(frozen=True, slots=True)
class Blend:
    tenant: str
    sources: tuple[str, ...]
    shares: tuple[float, ...]
    name: str
    """Of the checkpoint."""
    key: str | None = None
    """An idempotency key: the same one gives the same promise."""


class Blends:
    def __init__(
        self, database: Database, trainers: Mapping[str, Trainer], checkpoints: Checkpoints, limits: Limits
    ) -> None:
        self._database, self._trainers, self._checkpoints, self._limits = database, trainers, checkpoints, limits

    async def make(self, wanted: Blend) -> str:
        """The promise of a Blended. Raises BadInput, and makes nothing, for what does not go together."""
        checked_name(wanted.name)
        key = f"{wanted.tenant}:blend:{wanted.key}" if wanted.key else None
        if key and (made := await self._database.run(lambda c: _made(c, key))):
            return made
        if len(wanted.shares) != len(wanted.sources):
            raise BadInput(
                f"{len(wanted.sources)} checkpoints have {len(wanted.shares)} coefficients", hint="Send one for each."
            )
        if not all(math.isfinite(share) and abs(share) <= _LARGEST for share in wanted.shares):
            raise BadInput(f"A coefficient is outside ±{_LARGEST:g}", hint="They usually add up to 1.")
        sources = [await self._checkpoints.find(wanted.tenant, source) for source in wanted.sources]
        base = self._check(sources)
        parts = [
            (await self._checkpoints.folder(source), share)
            for source, share in zip(sources, wanted.shares, strict=True)
        ]
        trainer = self._trainers[base]

        async def bring(adapter: AdapterId) -> None:
            await trainer.blend(adapter, parts)
            await prove(trainer, adapter)

        path = TinkerPath(RunId(f"{new_id('ses')}:train:0"), "sampler_weights", wanted.name)
        outcome = Blended(str(path), wanted.sources, wanted.shares)
        op = OpRow(path.run, 0, "Blend", b"", "", new_id("tp"), "pending", None)

        def promise(connection: Connection) -> None:
            runs.add_op(connection, op)
            runs.settle_op(connection, op.run, op.seq, "done", write_outcome(outcome))

        found = Foundling(wanted.tenant, base, path, "blend", key)
        await hold(self._database, self._checkpoints, trainer, found, bring, promise)
        return op.promise

    def _check(self, sources: list[Checkpoint]) -> str:
        """Their base model."""
        bases = {source.base_model for source in sources}
        if len(bases) != 1:
            raise BadInput(f"They have {len(bases)} base models: {', '.join(sorted(bases))}", hint="Blend within one.")
        base = bases.pop()
        if base not in self._trainers:
            raise NotFound(f"The model {base} is not served now", hint="Start the server with it.")
        rank = sum(source.spec.rank for source in sources)
        if rank > self._limits.max_rank:
            raise BadInput(
                f"The exact sum has rank {rank}, more than {self._limits.max_rank}", hint="Blend fewer or smaller ones."
            )
        return base


def _made(connection: Connection, key: str) -> str | None:
    run = runs.find_copy(connection, key, "")
    op = runs.find_op(connection, run.id, 0) if run else None
    return op.promise if op else None
