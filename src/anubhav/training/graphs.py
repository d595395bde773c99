"""Clients' own losses: checked against the list of allowed operations, kept by session, found by their ids."""

import math
import re
from typing import Any, cast

import msgspec

from anubhav.errors import BadInput, NotFound, TooLarge
from anubhav.store import losses
from anubhav.store.database import Database
from anubhav.types.graphs import (
    ATTRIBUTES,
    CONSTANTS,
    FUNCTIONS,
    KEYWORDS,
    METHODS,
    Argument,
    GraphInput,
    GraphNode,
    LossGraph,
)
from anubhav.types.training import Datum

_MAX_LOSSES = 1000
_MAX_NODES = 2000
_MAX_INPUTS = 16
_MAX_DEPTH = 6
_MAX_BYTES = 1 << 20
_MAX_WHOLE = 1 << 53
_MAX_TEXT = 100
_KINDS = {"placeholder": "input", "call_function": "call", "call_method": "call", "output": "output"}
_INPUT = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_METRIC = re.compile(r"custom/[a-z0-9_./-]{1,64}:(sum|mean)")
_CLIENT_SIDE = (
    "Give forward_backward_custom a plain function of (data, logprobs_list) instead: it runs on your side and may do"
    " anything torch can."
)
_MALFORMED = "Send what ServiceClient.create_custom_loss sends."


class CustomLosses:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, tenant: str, session: str, number: int, graph: LossGraph) -> str:
        """The id of a session's loss of this number; the same again is the same loss.

        Raises BadInput, naming it, for an operation that is not allowed.
        """
        check_graph(graph)
        if number >= _MAX_LOSSES:
            raise TooLarge(f"A session holds at most {_MAX_LOSSES} losses", hint="Create each loss once.")
        body = msgspec.msgpack.encode(graph, order="deterministic")
        if len(body) > _MAX_BYTES:
            raise TooLarge(f"A loss of {len(body)} bytes is larger than {_MAX_BYTES}", hint=_CLIENT_SIDE)
        loss = f"{session}:loss:{number}"
        stands = await self._database.run(lambda c: losses.add(c, loss, session, tenant, body))
        if stands is None:
            raise NotFound(f"There is no open session {session[:100]}", hint="Create a session first.")
        if stands != body:
            raise BadInput(f"Loss {number} of this session is another one", hint="Give it a number of its own.")
        return loss

    async def find(self, tenant: str, loss: str) -> LossGraph:
        """Raises NotFound for no loss, or another tenant's."""
        body = await self._database.run(lambda c: losses.find(c, tenant, loss))
        if body is None:
            raise NotFound(f"There is no custom loss {loss[:200]!r}", hint="Create it with create_custom_loss.")
        return msgspec.msgpack.decode(body, type=LossGraph)


def check_graph(graph: LossGraph) -> None:
    """Raises BadInput unless every node is an allowed call on what stands before it."""
    _check_inputs(graph.inputs)
    if len(graph.nodes) > _MAX_NODES:
        raise TooLarge(f"A loss of {len(graph.nodes)} operations is larger than {_MAX_NODES}", hint=_CLIENT_SIDE)
    heads = len(graph.inputs)
    if [node.target for node in graph.nodes[:heads]] != [given.name for given in graph.inputs]:
        raise BadInput("A loss begins with its inputs, in their order", hint=_MALFORMED)
    kinds = [_KINDS.get(node.op) for node in graph.nodes]
    if kinds != ["input"] * heads + ["call"] * (len(kinds) - heads - 1) + ["output"]:
        raise BadInput("A loss is its inputs, some calls and one output, in this order", hint=_MALFORMED)
    known: set[str] = set()
    for node in graph.nodes:
        _check_node(node, known)
        known.add(node.name)
    _check_output(graph.nodes[-1])


def _check_inputs(inputs: tuple[GraphInput, ...]) -> None:
    if not 1 <= len(inputs) <= _MAX_INPUTS or len({given.name for given in inputs}) < len(inputs):
        raise BadInput(f"A loss takes 1 to {_MAX_INPUTS} inputs of different names", hint=_MALFORMED)
    if inputs[0].name != "logprobs" or inputs[0].rank not in (1, 2):
        raise BadInput("A loss takes logprobs of rank 1 or 2 first", hint=_MALFORMED)
    if any(given.rank not in (0, 1, 2) or not _INPUT.fullmatch(given.name) for given in inputs):
        raise BadInput("A loss has an input with no lower-case name or a rank outside 0..2", hint=_MALFORMED)


def check_fit(number: int, datum: Datum, graph: LossGraph) -> None:
    """Raises BadInput unless the datum brings each input of the loss, finite and at its rank."""
    for given in graph.inputs:
        values = datum.inputs.get("target_tokens" if given.name == "logprobs" else given.name)
        if values is None or not fits(given, values.shape):
            found = "nothing" if values is None else f"the shape {values.shape}"
            raise BadInput(
                f"Datum {number} brings {found} for {given.name}, which the loss declared with rank {given.rank}",
                hint="Every datum must match input_ranks.",
            )
        if not math.isfinite(sum(values.tolist())):
            raise BadInput(f"Datum {number} has {given.name} that are not finite", hint="Look for NaN in your data.")


def fits(given: GraphInput, shape: tuple[int, ...]) -> bool:
    """A scalar's shape is lost on the wire: it arrives as one value."""
    return shape in ((), (1,)) if given.rank == 0 else len(shape) == given.rank


def _check_node(node: GraphNode, known: set[str]) -> None:
    if not 1 <= len(node.name) <= 200 or node.name in known:
        raise BadInput("The nodes of a loss have no names of their own", hint=_MALFORMED)
    allowed = {"call_function": FUNCTIONS, "call_method": METHODS}.get(node.op)
    if allowed is not None and node.target not in allowed:
        kind = "method " if node.op == "call_method" else ""
        raise BadInput(f"A custom loss cannot call the {kind}{node.target[:100]!r} here", hint=_CLIENT_SIDE)
    if node.target == "getattr" and (len(node.args) != 2 or str(node.args[1]) not in ATTRIBUTES):
        wanted = str(node.args[1:])[:100]
        raise BadInput(f"A custom loss cannot read the attribute {wanted} of a tensor", hint=_CLIENT_SIDE)
    if node.op == "call_method" and not node.args:
        raise BadInput("A method is called on nothing", hint=_MALFORMED)
    for name, value in node.kwargs.items():
        # torch.fx writes out=None where nothing was given.
        if name not in KEYWORDS and (name, value) != ("out", None):
            raise BadInput(
                f"A custom loss cannot give {node.target[:100]} the keyword {name[:100]!r}", hint=_CLIENT_SIDE
            )
    for value in (*node.args, *node.kwargs.values()):
        _check_argument(value, known, 0)


def _check_argument(value: Argument, known: set[str], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise BadInput("The arguments of a loss are nested too deeply", hint=_CLIENT_SIDE)
    if isinstance(value, list | tuple):
        for part in cast("list[Any]", value):
            _check_argument(part, known, depth + 1)
    elif isinstance(value, dict):
        tagged = cast("dict[str, Any]", value)
        if len(tagged) != 1:
            raise BadInput("A loss has an argument of an unknown form", hint=_MALFORMED)
        ((kind, inner),) = tagged.items()
        _check_tagged(kind, inner, known, depth + 1)
    elif not _is_plain(value):
        raise BadInput("A loss has a number or a text that is too large", hint=_MALFORMED)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT
    if isinstance(value, int):
        return abs(value) < _MAX_WHOLE
    return value is None or (isinstance(value, float) and math.isfinite(value))


def _check_tagged(kind: str, inner: Any, known: set[str], depth: int) -> None:
    match kind, inner:
        case "ref", str() if inner in known:
            return
        case ("tuple", list()) | ("slice", [_, _, _]):
            _check_argument(inner, known, depth)
        case "dict", dict():
            _check_argument(list(cast("dict[str, Any]", inner).values()), known, depth)
        case ("ellipsis", True) | ("device", str()) | ("float", "inf" | "-inf" | "nan"):
            return
        case _:
            if not isinstance(inner, str) or inner not in CONSTANTS.get(kind, ()):
                raise BadInput(f"A loss has an argument {kind[:50]!r} that means nothing here", hint=_MALFORMED)


def _check_output(node: GraphNode) -> None:
    first: Any = node.args[0] if node.args else None
    pair: Any = cast("dict[str, Any]", first).get("tuple") if isinstance(first, dict) else first
    match pair:
        case [{"ref": str()}, {"dict": dict()}]:
            metrics = cast("dict[str, Any]", cast("Any", pair)[1]["dict"])
        case _:
            raise BadInput("A loss returns (loss, metrics)", hint=_MALFORMED)
    for name, value in metrics.items():
        if not _METRIC.fullmatch(name) or not isinstance(value, dict) or "ref" not in value:
            raise BadInput(f"A loss has a metric {name[:100]!r}", hint="Name tensors custom/<name>:sum or :mean.")
