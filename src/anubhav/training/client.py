"""The client our own learning loop trains through: the same desk, journal and order as any SDK user's."""

from collections.abc import Mapping, Sequence

from anubhav.errors import AnubhavError, Broken
from anubhav.training.desk import Desk
from anubhav.training.promises import Outcome, Saved, Stepped
from anubhav.types.checkpoints import Checkpoint, Kind
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.operations import Compute, Create, Load, Operation, Save, Step
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult

_PATIENCE = 3600.0
"""Seconds an operation may take before the loop gives up on it."""


class RunClient:
    """Numbers its operations itself; every method waits for the result and raises the operation's failure."""

    def __init__(self, desk: Desk, tenant: str, run: RunId) -> None:
        self.run = run
        self._desk, self._tenant, self._next = desk, tenant, 0

    @classmethod
    async def start(cls, desk: Desk, tenant: str, base_model: str, origin: LoraSpec | str, *, tag: str) -> "RunClient":
        """A new run, fresh with this spec or from a `tinker://` path (with a fresh optimizer)."""
        session = await desk.open_session(tenant, [tag], {}, "anubhav")
        return await cls.take_up(desk, tenant, RunId(f"{session}:train:0"), base_model, origin)

    @classmethod
    async def take_up(cls, desk: Desk, tenant: str, run: RunId, base_model: str, origin: LoraSpec | str) -> "RunClient":
        """The same of a run of this name, which may be under way: hand in its operations from the first one on, and
        those that were done give their results again and nothing else."""
        client = cls(desk, tenant, run)
        first = Load(origin, optimizer=False) if isinstance(origin, str) else Create(base_model, origin)
        await client._do(first)
        return client

    async def forward(self, data: Sequence[Datum], loss: str = "cross_entropy") -> PassResult:
        return await self._compute(data, loss, {}, backward=False)

    async def forward_backward(
        self, data: Sequence[Datum], loss: str, config: Mapping[str, float] | None = None
    ) -> PassResult:
        return await self._compute(data, loss, config or {}, backward=True)

    async def optim_step(self, params: OptimParams) -> Mapping[str, float]:
        outcome = await self._do(Step(params))
        assert isinstance(outcome, Stepped)
        return outcome.metrics

    async def save(self, name: str, kind: Kind) -> Checkpoint:
        return await self._desk.checkpoints.find(self._tenant, await self.write(name, kind))

    async def write(self, name: str, kind: Kind) -> str:
        """The path of what was saved under this name, which may have been deleted since."""
        outcome = await self._do(Save(kind, name))
        assert isinstance(outcome, Saved)
        return outcome.path

    async def end(self) -> None:
        await self._desk.end(self._tenant, self.run)

    async def _compute(
        self, data: Sequence[Datum], loss: str, config: Mapping[str, float], *, backward: bool
    ) -> PassResult:
        outcome = await self._do(Compute(Pass(AdapterId(self.run), tuple(data), loss, dict(config), backward)))
        assert isinstance(outcome, PassResult)
        return outcome

    async def _do(self, operation: Operation) -> Outcome:
        number = self._next
        promise = await self._desk.submit(self._tenant, self.run, number, operation)
        self._next += 1  # only now: a refused operation used up no number
        outcome = await self._desk.promises.wait(self._tenant, promise, _PATIENCE)
        if outcome is None:
            raise Broken(f"Operation {number} of {self.run} did not end within {_PATIENCE:.0f} s")
        if isinstance(outcome, AnubhavError):
            raise outcome
        return outcome
