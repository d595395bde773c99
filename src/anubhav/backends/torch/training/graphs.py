"""A client's own loss, computed: every node is looked up in a table of allowed functions and run under autograd.

The table is made from the list in `types.graphs`, never from what a client sent. A node's result is first computed
without data (torch's meta device), so that one too large is refused before there is memory for it. Everything runs on
the CPU: the operands are small, and an index out of range must not bring a GPU down.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from anubhav.errors import BadInput
from anubhav.types.arrays import Array
from anubhav.types.graphs import CONSTANTS, FUNCTIONS, METHODS, POINTWISE, GraphInput, GraphNode, LossGraph
from anubhav.types.training import Datum

_MAX_CELLS = 1 << 23
"""Of one result."""
_MAX_TOTAL = 1 << 26
"""Of all results for one datum, as the derivative keeps them."""
_MAX_PARTS = 4096
_MAX_WHOLE = 1 << 62
_DTYPES = {"float32": torch.float32, "int64": torch.int64, "int32": torch.int32}
_HINT = "Run it on your side: give forward_backward_custom a plain function."


def _find(name: str) -> Callable[..., Any]:
    for prefix, room in (
        ("torch.nn.functional.", functional),
        ("torch.special.", torch.special),
        ("torch.linalg.", torch.linalg),
        ("torch.", torch),
        ("operator.", operator),
        ("math.", math),
    ):
        if name.startswith(prefix):
            return getattr(room, name.removeprefix(prefix))
    return getattr


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {name: _find(name) for name in FUNCTIONS}
_METHODS: Mapping[str, Callable[..., Any]] = {name: getattr(Tensor, name) for name in METHODS}
_CONSTANTS = {(kind, name): getattr(torch, name) for kind, names in CONSTANTS.items() for name in names}


class CustomLoss:
    """One pass's use of a graph: the loss and its derivative datum by datum, and its metrics over all of them."""

    def __init__(self, graph: LossGraph, data: Sequence[Datum]) -> None:
        self._graph, self._data = graph, data
        self.told: dict[int, dict[str, float]] = {}
        """The metrics of each datum."""

    def value(self, logprobs_P: Tensor, shares: Sequence[tuple[int, int]]) -> float:
        """The loss of the data in `shares`: (datum number, its number of log-probabilities), in the order of P."""
        parts = logprobs_P.cpu().split([count for _, count in shares])
        losses = [self._run(number, part)[0] for (number, _), part in zip(shares, parts, strict=True)]
        return float(torch.stack(losses).float().sum())

    def slope(self, logprobs_P: Tensor, shares: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """(derivative by each log-probability, loss)."""
        losses: list[Tensor] = []
        slopes: list[Tensor] = []
        parts = logprobs_P.detach().cpu().split([count for _, count in shares])
        for (number, _), part in zip(shares, parts, strict=True):
            with torch.enable_grad():
                loss, free = self._run(number, part.requires_grad_())
            if not loss.requires_grad:
                raise BadInput(f"The custom loss does not depend on the logprobs of datum {number}", hint=_HINT)
            slope = self._pull(number, loss, free)
            if not slope.isfinite().all():
                raise BadInput(
                    f"The custom loss has a derivative that is not finite at datum {number}",
                    hint="Look for log, sqrt or a division at 0, and for exp of large numbers.",
                )
            losses.append(loss.detach().float())
            slopes.append(slope)
        return torch.cat(slopes).to(logprobs_P), torch.stack(losses).sum()

    def metrics(self) -> dict[str, float]:
        return joined(self.told)

    def _pull(self, number: int, loss: Tensor, free: Tensor) -> Tensor:
        try:
            return torch.autograd.grad(loss, free)[0]
        except (RuntimeError, NotImplementedError) as problem:
            raise _failed("derivative", number, problem) from problem

    def _run(self, number: int, free: Tensor) -> tuple[Tensor, Tensor]:
        """(loss of the datum, what it was computed from)."""
        datum = self._data[number]
        shape = datum.inputs["target_tokens"].shape
        values: dict[str, Any] = {}
        cells = 0
        for node in self._graph.nodes:
            if node.op == "placeholder":
                given = next(one for one in self._graph.inputs if one.name == node.target)
                own = given.name == "logprobs"
                values[node.name] = free.view(shape) if own else _tensor(given, datum.inputs[given.name])
            elif node.op == "output":
                return self._finish(number, _decode(node.args[0], values)), free
            else:
                values[node.name], size = _call(node, number, values)
                cells += size
                if cells > _MAX_TOTAL:
                    raise BadInput(f"The custom loss needs too much memory at datum {number}", hint=_HINT)
        raise BadInput("The custom loss has no output", hint=_HINT)

    def _finish(self, number: int, output: Any) -> Tensor:
        loss, metrics = output
        for name, value in {"its loss": loss, **metrics}.items():
            if not isinstance(value, Tensor) or value.numel() != 1 or (value is loss and value.ndim):
                raise BadInput(f"The custom loss gives no single number as {name} at datum {number}", hint=_HINT)
        self.told[number] = {name: float(value.detach()) for name, value in metrics.items()}
        return loss


def joined(told: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """By name: the sum over all data, or their mean, as the name's end says."""
    found: dict[str, list[float]] = {}
    for number in sorted(told):
        for name, value in told[number].items():
            found.setdefault(name, []).append(value)
    return {name: math.fsum(values) / (len(values) if name.endswith(":mean") else 1) for name, values in found.items()}


def _tensor(given: GraphInput, values: Array) -> Tensor:
    found = torch.frombuffer(bytearray(values.data), dtype=_DTYPES[values.dtype])
    return found.reshape(() if given.rank == 0 else values.shape)


def _call(node: GraphNode, number: int, values: Mapping[str, Any]) -> tuple[Any, int]:
    """(the node's result, how many cells it has)."""
    args, kwargs = _operands(node, values)
    if node.target in ("cpu", "to") and len(args) == 1 and not kwargs:
        return args[0], 0
    function = (_METHODS if node.op == "call_method" else _FUNCTIONS)[node.target]
    try:
        _check_operands(node, args)
        if node.target in POINTWISE:
            shapes = [value.shape for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            _check_cells(math.prod(torch.broadcast_shapes(*shapes)))
        elif node.target != "getattr" and not _is_mask(node, args):
            with torch.device("meta"), torch.no_grad():
                _size(function(*map(_bare, args), **{name: _bare(value) for name, value in kwargs.items()}))
        result = function(*args, **kwargs)
        return result, _size(result)
    except (
        RuntimeError,
        NotImplementedError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        ArithmeticError,
    ) as why:
        raise _failed(f"{node.name} ({node.target})", number, why) from why


def _operands(node: GraphNode, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Without devices: where something is computed is not the client's to say."""
    args = [_decode(value, values) for value in node.args]
    kwargs = {name: _decode(value, values) for name, value in node.kwargs.items() if name != "device"}
    if node.target == "to":
        args = [value for value in args if not isinstance(value, str | torch.device)]
    return args, kwargs


def _failed(what: str, number: int, why: Exception) -> BadInput:
    return BadInput(f"The custom loss fails in {what} at datum {number}: {str(why).splitlines()[0][:300]}", hint=_HINT)


def _check_operands(node: GraphNode, args: Sequence[Any]) -> None:
    """Python's own operators would take more than tensors and numbers, and powers without end."""
    if node.op == "call_method" and not isinstance(args[0], Tensor):
        raise TypeError("the method of something that is no tensor")
    if node.target == "getattr" and not isinstance(args[0], Tensor | tuple):
        raise TypeError("an attribute of something that is no tensor")
    if node.target.startswith("math.") and not all(_is_number(value) for value in args):
        raise TypeError("math works on numbers, not on tensors; use torch")
    if node.target.startswith("operator.") and node.target != "operator.getitem":
        if not all(isinstance(value, Tensor) or _is_number(value) for value in args):
            raise TypeError("operands that are neither tensors nor numbers")
        if node.target == "operator.pow" and all(map(_is_number, args)) and not abs(args[-1]) <= 64:
            raise ValueError("the exponent is above 64")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_mask(node: GraphNode, args: Sequence[Any]) -> bool:
    """Whether the result's size depends on the data; it is then no larger than the first operand."""
    if node.target in ("torch.masked_select", "masked_select"):
        return True
    if node.target != "operator.getitem" or not isinstance(args[0], Tensor):
        return False
    index = cast("tuple[Any, ...]", args[1] if isinstance(args[1], tuple) else (args[1],))
    chosen = [one for one in index if isinstance(one, Tensor)]
    if not any(one.dtype in (torch.bool, torch.uint8) for one in chosen):
        return False
    if len(chosen) > 1:
        raise ValueError("a mask stands beside another tensor in one index")
    return True


def _size(value: Any) -> int:
    """How many cells a result has. Raises ValueError for too many, and for what cannot be one."""
    if isinstance(value, Tensor):
        _check_cells(value.numel())
        return value.numel()
    if isinstance(value, tuple | list):
        parts = cast("Sequence[Any]", value)
        if len(parts) > _MAX_PARTS:
            raise ValueError(f"a result of {len(parts)} parts, more than {_MAX_PARTS}")
        return sum(map(_size, parts))
    if isinstance(value, int) and abs(value) >= _MAX_WHOLE:
        raise ValueError("a whole number that is too large")
    if value is None or isinstance(value, int | float | torch.dtype | torch.device):
        return 1
    raise ValueError(f"a result that is a {type(value).__name__}")


def _check_cells(cells: int) -> None:
    if cells > _MAX_CELLS:
        raise ValueError(f"a result of {cells} cells, more than {_MAX_CELLS}")


def _bare(value: Any) -> Any:
    """The same without data."""
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if type(value) in (list, tuple):
        return type(value)(map(_bare, value))
    return value


def _decode(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, list | tuple):
        return [_decode(part, values) for part in cast("Sequence[Any]", value)]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = cast("dict[str, Any]", value).items()
    if kind == "ref":
        return values[inner]
    if kind == "dict":
        return {name: _decode(part, values) for name, part in inner.items()}
    if kind in _MAKERS:
        return _MAKERS[kind](_decode(inner, values))
    return _CONSTANTS[kind, inner]


_MAKERS: Mapping[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "slice": lambda bounds: slice(*bounds),
    "ellipsis": lambda _: ...,
    "float": float,
    "device": lambda _: torch.device("cpu"),
}
