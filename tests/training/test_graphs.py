"""What may stand in a client's own loss."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from anubhav.errors import BadInput
from anubhav.training.graphs import check_fit, check_graph
from anubhav.types.arrays import floats, ints
from anubhav.types.graphs import GraphInput, GraphNode, LossGraph
from anubhav.types.training import Datum

X, W = {"ref": "x"}, {"ref": "w"}
GIVEN = (GraphInput("logprobs", 1), GraphInput("weights", 1))
HEAD = (GraphNode("placeholder", "x", "logprobs", (), {}), GraphNode("placeholder", "w", "weights", (), {}))


def call(target: str, *args: Any, **kwargs: Any) -> GraphNode:
    return GraphNode("call_function", "y", target, args, kwargs)


def end(metrics: Mapping[str, Any] | None = None, loss: Any = None) -> GraphNode:
    returned = {"tuple": [loss or {"ref": "y"}, {"dict": metrics or {"custom/a:sum": {"ref": "y"}}}]}
    return GraphNode("output", "output", "output", (returned,), {})


def graph(*nodes: GraphNode) -> LossGraph:
    return LossGraph("mine", GIVEN, (*HEAD, *nodes))


def test_an_honest_graph_is_taken() -> None:
    check_graph(graph(call("operator.mul", X, W), end()))
    check_graph(graph(GraphNode("call_method", "y", "sum", (X,), {"dim": 0}), end({})))
    check_graph(graph(call("operator.getitem", X, {"tuple": [{"slice": [None, -1, None]}, {"ellipsis": True}]}), end()))
    check_graph(graph(call("torch.clamp", X, min=-1.0, max={"float": "inf"}), end()))


@pytest.mark.parametrize(
    "target",
    [
        "torch.load", "torch.save", "torch.hub.load", "torch.rand_like", "torch.einsum", "torch._utils._import",
        "operator.attrgetter", "operator.call", "operator.methodcaller", "builtins.eval", "eval", "exec", "__import__",
        "torch.ops.aten.add", "torch.nn.functional.dropout", "torch.tensor", "torch.nonzero", "math.factorial",
        "os.system", "getattr ", "torch._C._set_grad_enabled", "torch.exp.__self__", "torch.from_file",
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_named(target: str) -> None:
    with pytest.raises(BadInput) as refused:
        check_graph(graph(call(target, X), end()))
    assert target in refused.value.message
    assert "forward_backward_custom" in refused.value.hint


@pytest.mark.parametrize(
    "method", ["item", "tolist", "numpy", "backward", "exp_", "__reduce__", "register_hook", "set_"]
)
def test_methods_that_leave_torch_or_write_are_named(method: str) -> None:
    with pytest.raises(BadInput, match=method):
        check_graph(graph(GraphNode("call_method", "y", method, (X,), {}), end()))


BROKEN: dict[str, LossGraph] = {
    "an attribute": graph(call("getattr", X, "__class__"), end()),
    "an odd attribute": graph(call("getattr", X, {"tuple": []}), end()),
    "no attribute": graph(call("getattr", X), end()),
    "out": graph(call("torch.exp", X, out=W), end()),
    "random": graph(call("torch.sum", X, generator=None), end()),
    "forward reference": graph(call("torch.exp", {"ref": "z"}), end()),
    "own reference": graph(call("torch.exp", {"ref": "y"}), end()),
    "no number": graph(call("torch.exp", {"float": "1.0"}), end()),
    "nan": graph(call("torch.exp", float("nan")), end()),
    "dtype": graph(call("torch.exp", X, dtype={"dtype": "qint8"}), end()),
    "attribute as dtype": graph(call("torch.exp", X, dtype={"dtype": "load"}), end()),
    "layout": graph(call("torch.exp", X, layout={"layout": "sparse_csr"}), end()),
    "tag": graph(call("torch.exp", {"eval": "1"}), end()),
    "two tags": graph(call("torch.exp", {"ref": "x", "float": "inf"}), end()),
    "slice": graph(call("operator.getitem", X, {"slice": [1]}), end()),
    "long text": graph(call("torch.exp", "x" * 101), end()),
    "huge": graph(call("torch.full", [1 << 60], 1.0), end()),
    "deep": graph(call("torch.exp", [[[[[[[[1]]]]]]]]), end()),
    "no output": graph(call("torch.exp", X)),
    "no loss": graph(call("torch.exp", X), end(loss=1.0)),
    "metric name": graph(call("torch.exp", X), end({"loss:sum": X})),
    "metric value": graph(call("torch.exp", X), end({"custom/a:sum": 1.0})),
    "twice": graph(call("torch.exp", X), call("torch.exp", X), end()),
    "two outputs": graph(call("torch.exp", X), end(), replace(end(), name="other")),
    "too many": graph(*(replace(call("torch.exp", X), name=f"y{n}") for n in range(2000)), end(loss=X)),
    "module": graph(GraphNode("call_module", "y", "lin", (X,), {}), end()),  # pyright: ignore[reportArgumentType]
    "no inputs": LossGraph("mine", (), (call("torch.zeros", 1), end())),
    "wrong first": LossGraph("mine", GIVEN[::-1], (*HEAD[::-1], end(loss=X))),
    "scalar logprobs": LossGraph("mine", (GraphInput("logprobs", 0),), (HEAD[0], end({}, loss=X))),
    "an input unread": LossGraph("mine", GIVEN, (HEAD[0], end({}, loss=X))),
    "a strange name": LossGraph("mine", (GIVEN[0], GraphInput("../w", 1)), (*HEAD, end({}, loss=X))),
}


@pytest.mark.parametrize("bad", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_graph_is_refused(bad: LossGraph) -> None:
    with pytest.raises(BadInput) as refused:
        check_graph(bad)
    assert refused.value.hint


def test_data_must_fit_the_declared_inputs() -> None:
    mine = LossGraph("mine", (GIVEN[0], GraphInput("w", 2), GraphInput("k", 0)), ())
    inputs = {"target_tokens": ints([1, 2]), "w": floats([1.0] * 4, (2, 2)), "k": floats([0.5])}
    check_fit(0, Datum((1, 2), inputs), mine)
    for wrong in (
        {"w": floats([1.0] * 2)},
        {"k": floats([1.0] * 2)},
        {"k": floats([float("nan")])},
        {"target_tokens": ints([1, 2], (2, 1))},
    ):
        with pytest.raises(BadInput, match="Datum 3"):
            check_fit(3, Datum((1, 2), inputs | wrong), mine)
    with pytest.raises(BadInput, match="nothing"):
        check_fit(3, Datum((1, 2), {name: inputs[name] for name in ("target_tokens", "w")}), mine)
