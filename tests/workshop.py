"""A training room over the fake backend, small enough to be torn down and rebuilt inside one test."""

from collections.abc import Sequence
from pathlib import Path

from anubhav.backends.fake.trainer import FakeTrainer
from anubhav.store.database import Database
from anubhav.training.desk import Desk
from anubhav.training.limits import Limits
from anubhav.training.promises import Outcome
from anubhav.training.snapshots import Pace
from anubhav.types.arrays import Array, floats, ints
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.models import Model
from anubhav.types.operations import Compute, Create, Operation, Save, Step
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

TENANT, MODEL, VOCAB, CONTEXT = "alice", "tiny", 50, 64
SPEC = LoraSpec(rank=4)
CREATE = Create(MODEL, SPEC)
STEP = Step(OptimParams(learning_rate=0.1))


def datum(tokens: Sequence[int], **inputs: Array) -> Datum:
    """The next-token datum of a sequence; cross entropy's weights are 1 unless other inputs are given."""
    count = len(tokens) - 1
    return Datum(
        tuple(tokens[:-1]), {"target_tokens": ints(tokens[1:]), **(inputs or {"weights": floats([1.0] * count)})}
    )


def learn(*sequences: Sequence[int], backward: bool = True) -> Compute:
    data = tuple(map(datum, sequences))
    return Compute(Pass(AdapterId(""), data, "cross_entropy", backward=backward))


def work(data: Datum, loss: str, **config: float) -> Compute:
    return Compute(Pass(AdapterId(""), (data,), loss, config))


HOPELESS = work(datum((1, 2), logprobs=floats((-2000,)), advantages=floats((1,))), "importance_sampling")
"""Goes well itself; the next step meets a gradient that is not finite."""


def save(name: str, kind: str = "weights", *, overwrite: bool = False) -> Save:
    return Save(kind, name, overwrite)


class Workshop:
    """A desk with everything under it, on a folder that outlives it."""

    def __init__(self, folder: Path, *, pace: Pace | None = None) -> None:
        self.folder = folder
        self.pace = pace or Pace()
        self.open()

    def open(self) -> None:
        self.database = Database(self.folder / "anubhav.db")
        self.trainer = FakeTrainer(VOCAB)
        models = {MODEL: Model(MODEL, self.folder, "none", "folder", CONTEXT, VOCAB)}
        self.desk = Desk(self.database, {MODEL: self.trainer}, self.folder, Limits(models), pace=self.pace)

    async def close(self) -> None:
        await self.desk.stop()
        self.database.close()

    async def restart(self) -> None:
        """What was in memory is lost, wherever it was; what is on disk is found again."""
        await self.close()
        self.open()
        await self.desk.recover()

    async def new_run(self) -> RunId:
        session = await self.desk.open_session(TENANT, [], {}, "test")
        run = RunId(f"{session}:train:0")
        await self.do(run, 0, CREATE)
        return run

    async def submit(self, run: RunId, seq: int, operation: Operation) -> str:
        return await self.desk.submit(TENANT, run, seq, operation)

    async def wait(self, promise: str, seconds: float = 10) -> Outcome:
        outcome = await self.desk.promises.wait(TENANT, promise, seconds)
        assert outcome is not None, "the promise was not kept in time"
        return outcome

    async def do(self, run: RunId, seq: int, operation: Operation) -> Outcome:
        return await self.wait(await self.submit(run, seq, operation))
