"""A client's own loss in the engine: the built-in one's gradient when it is the same formula, bounded memory, and the
same weights to the bit when the journal is replayed.
"""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.training.graphs import CustomLoss
from anubhav.errors import BadInput
from anubhav.store.database import Database
from anubhav.training.desk import Desk
from anubhav.training.graphs import check_graph
from anubhav.training.limits import Limits
from anubhav.training.promises import Outcome, Saved
from anubhav.types.arrays import floats, ints
from anubhav.types.graphs import CONSTANTS, FUNCTIONS, METHODS, GraphInput, GraphNode, LossGraph
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.models import Model
from anubhav.types.operations import Compute, Create, Operation, Save, Step
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

RUN, OTHER = AdapterId("run"), AdapterId("other")
SPEC = LoraSpec(rank=4, seed=1)


def ref(name: str) -> dict[str, str]:
    return {"ref": name}


def graph(inputs: dict[str, int], *calls: tuple[str, str, tuple[Any, ...]]) -> LossGraph:
    """(name, target, arguments); the last call is the loss, and its mean a metric."""
    heads = [GraphNode("placeholder", name, name, (), {}) for name in inputs]
    nodes = [GraphNode("call_function", name, target, args, {}) for name, target, args in calls]
    last = calls[-1][0]
    returned = {"tuple": [ref(last), {"dict": {"custom/loss:mean": ref(last)}}]}
    end = GraphNode("output", "output", "output", (returned,), {})
    given = tuple(GraphInput(name, rank) for name, rank in inputs.items())
    made = LossGraph("mine", given, (*heads, *nodes, end))
    check_graph(made)
    return made


PULL = graph(
    {"logprobs": 1, "old": 1, "a": 1},
    ("away", "operator.sub", (ref("logprobs"), ref("old"))),
    ("ratio", "torch.exp", (ref("away"),)),
    ("gain", "operator.mul", (ref("ratio"), ref("a"))),
    ("sum", "torch.sum", (ref("gain"),)),
    ("loss", "operator.neg", (ref("sum"),)),
)


def some_data(count: int = 5) -> tuple[Datum, ...]:
    torch.manual_seed(5)
    data: list[Datum] = []
    for number in range(count):
        length = 150 + 17 * number
        tokens = torch.randint(300, (length + 1,)).tolist()
        old, a = floats((torch.rand(length) - 6).tolist()), floats(torch.randn(length).tolist())
        inputs = {"target_tokens": ints(tokens[1:]), "old": old, "a": a, "logprobs": old, "advantages": a}
        data.append(Datum(tuple(tokens[:-1]), inputs))
    return tuple(data)


async def test_a_custom_loss_pulls_as_the_built_in_one(engine: TorchEngine, tmp_path: Path) -> None:
    data = some_data()
    for name in (RUN, OTHER):
        await engine.trainer.create(name, SPEC)
    custom, built_in, looked = await engine.trainer.run(
        [
            Pass(RUN, data, "custom", graph=PULL),
            Pass(OTHER, data, "importance_sampling"),
            Pass(OTHER, data, "custom", backward=False, graph=PULL),
        ]
    )
    assert custom.failure is built_in.failure is looked.failure is None
    total = built_in.metrics["loss:sum"]
    assert custom.metrics["loss:sum"] == pytest.approx(total, rel=1e-5)
    assert looked.metrics["loss:sum"] == pytest.approx(total, rel=1e-5)
    assert custom.metrics["custom/loss:mean"] == pytest.approx(total / len(data), rel=1e-5)
    ours, theirs = (engine.training.pupil(name).gradient.tensors for name in (RUN, OTHER))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


VAST = {
    "a product": [("y", "torch.outer", (ref("x"), ref("x")))],
    "zeros": [("y", "torch.zeros", (1 << 20, 1 << 20))],
    "a power of a power": [("y", "operator.pow", (10, 10)), ("z", "operator.pow", (ref("y"), 10.0)),
                           ("w", "operator.pow", (ref("y"), 65))],
    "whole numbers": [("y", "operator.pow", (1 << 40, 60))],
    "parts": [("y", "torch.chunk", (ref("x"), 100_000))],
    "broadcast": [
        ("c", "operator.getitem", (ref("x"), {"tuple": [{"slice": [None, None, None]}, None]})),
        ("y", "operator.mul", (ref("c"), ref("x"))),
    ],
    "little by little": [(f"y{n}", "torch.zeros", (1 << 22,)) for n in range(20)],
}  # fmt: skip


@pytest.mark.parametrize("calls", VAST.values(), ids=VAST.keys())
def test_what_would_need_too_much_is_refused_before_it_is_there(calls: list[tuple[str, str, tuple[Any, ...]]]) -> None:
    length = 20_000
    inputs = {"target_tokens": ints([0] * length)}
    made = graph({"logprobs": 1}, *[(n, t, tuple(_named(a) for a in args)) for n, t, args in calls])
    with pytest.raises(BadInput, match=r"more than|memory|exponent|too large"):
        CustomLoss(made, [Datum((0,) * length, inputs)]).value(torch.zeros(length), [(0, length)])


def _named(argument: Any) -> Any:
    return ref("logprobs") if argument == ref("x") else argument


def test_numbers_and_tensors_keep_to_their_own_functions() -> None:
    inputs = {"target_tokens": ints([0] * 3)}
    for call in (
        ("y", "math.exp", (ref("logprobs"),)),
        ("y", "operator.mul", ("a", 3)),
        ("y", "operator.add", ([1], [2])),
        ("y", "operator.getitem", ("abc", 0)),
        ("y", "getattr", ("abc", "T")),
        ("y", "torch.exp", ("abc",)),
        ("y", "torch.sum", (ref("logprobs"), 7)),
    ):
        with pytest.raises(BadInput, match="datum 0"):
            CustomLoss(graph({"logprobs": 1}, call), [Datum((0,) * 3, inputs)]).value(torch.zeros(3), [(0, 3)])


def test_every_allowed_name_is_one_of_torchs() -> None:
    """The tables are built when the module is imported; nothing in them writes, draws or reads files."""
    assert len(FUNCTIONS) > 250
    assert len(METHODS) > 150
    writing = [name for name in METHODS | FUNCTIONS if name.endswith("_")]
    assert sorted(writing) == ["operator.and_", "operator.or_"]
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in CONSTANTS["dtype"])


class Classroom:
    """A desk over the engine, which can be torn down and built again on what lies on disk."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        folder.mkdir(exist_ok=True)
        self.open()

    def open(self) -> None:
        self.engine = TorchEngine(self.model)
        self.database = Database(self.folder / "anubhav.db")
        models = {"tiny": Model("tiny", self.model, "none", "folder", 256, 300)}
        self.desk = Desk(self.database, {"tiny": self.engine.trainer}, self.folder, Limits(models))

    async def close(self) -> None:
        await self.desk.stop()
        self.database.close()
        self.engine.close()

    async def do(self, run: RunId, seq: int, operation: Operation) -> Outcome:
        promise = await self.desk.submit("ada", run, seq, operation)
        outcome = await self.desk.promises.wait("ada", promise, 60)
        assert outcome is not None
        return outcome


@pytest.mark.parametrize("crash", [False, True])
async def test_a_replayed_journal_gives_the_same_weights(tiny_llama: Path, tmp_path: Path, *, crash: bool) -> None:
    found = [await train(Classroom(tmp_path / str(number), tiny_llama), crash=crash and number) for number in range(2)]
    assert found[0] == found[1]


async def train(room: Classroom, *, crash: bool | int) -> str:
    session = await room.desk.open_session("ada", [], {}, "test")
    loss = await room.desk.losses.create("ada", session, 0, PULL)
    assert await room.desk.losses.create("ada", session, 0, PULL) == loss
    run = RunId(f"{session}:train:0")
    await room.do(run, 0, Create("tiny", SPEC))
    work = Compute(Pass(RUN, some_data(2), "custom", graph=await room.desk.losses.find("ada", loss)))
    step = Step(OptimParams(learning_rate=0.01))
    for seq, operation in enumerate([work, step, work], start=1):
        await room.do(run, seq, operation)
    if crash:
        await room.close()
        room.open()
        await room.desk.recover()
    await room.do(run, 4, step)
    saved = await room.do(run, 5, Save("weights", "end"))
    assert isinstance(saved, Saved)
    folder = await room.desk.checkpoints.folder(await room.desk.checkpoints.find("ada", saved.path))
    digest = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    await room.close()
    return digest
