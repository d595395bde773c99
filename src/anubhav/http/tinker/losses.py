"""Clients' own losses over Tinker's wire: the graph that torch.fx traced, spelled as this house spells operations."""

from typing import Any

from fastapi import APIRouter, Depends

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.tinker import bodies
from anubhav.http.tinker.training import house_of
from anubhav.types.graphs import GraphInput, GraphNode, LossGraph
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1", dependencies=[Depends(needs("train"))])

_OPERATIONS = ("placeholder", "call_function", "call_method", "output")
_SPELLINGS = {
    "torch._C._nn.log_sigmoid": "torch.nn.functional.logsigmoid",
    "torch.nn.functional.cosine_similarity": "torch.cosine_similarity",
}
_ROOMS = {
    "torch._C._nn.": "torch.nn.functional.",
    "torch._C._special.special_": "torch.special.",
    "torch._C._linalg.linalg_": "torch.linalg.",
    "torch.functional.": "torch.",
    "torch._tensor.Tensor.": "torch.",
    "_operator.": "operator.",
}
"""torch.fx names a function by the module it was made in, which is often not where people know it from."""


@router.post("/create_custom_loss")
async def create_custom_loss(
    body: bodies.CreateCustomLoss, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    """The loss's id is its promise too: it is kept before this answers."""
    inputs = tuple(GraphInput(given.name, given.rank) for given in body.inputs)
    graph = LossGraph(body.name, inputs, tuple(map(_read, body.graph.nodes)))
    loss = await house.desk.losses.create(who.tenant, body.session_id, body.custom_loss_seq_id, graph)
    return {"request_id": loss}


def _read(node: bodies.LossNode) -> GraphNode:
    if node.op not in _OPERATIONS:
        raise BadInput(
            f"A custom loss cannot hold {node.op} ({node.target})",
            hint="It may read its inputs only, and call functions of torch and math.",
        )
    return GraphNode(node.op, node.name, _spelled(node.target), tuple(node.args), node.kwargs)


def _spelled(target: str) -> str:
    if target in _SPELLINGS:
        return _SPELLINGS[target]
    for theirs, ours in _ROOMS.items():
        if target.startswith(theirs):
            return ours + target.removeprefix(theirs)
    return target
