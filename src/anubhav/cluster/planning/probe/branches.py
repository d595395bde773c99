"""LoRA beside a sharded model, in the four layouts, with shapes read off the shards that lie on this rank.

The factors are added after sharding, as plain tensors: a layer that tensor parallelism cuts has factors cut the same
way, and experts have factors where they are. Multiplications over groups of rows are stand-ins with the memory of a
grouped kernel, since that kernel wants ranks that are multiples of 8.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.functional import linear
from transformers.distributed.parallel_utils import _AllReduceBackward, _AllReduceForward

from anubhav.cluster.planning.adapter import Adapter
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.probe.architecture import TiedHead

EXPERTS = "planned_experts"
"""The name of our experts' forward pass in transformers' registry."""


class Grouped(torch.autograd.Function):
    """Rows by groups through a stack of matrices: the result and what is kept for backward, with no values."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, stack: Tensor) -> Tensor:
        ctx.trained = stack.requires_grad
        ctx.save_for_backward(stack, *([rows] if ctx.trained else []))
        ctx.shape = rows.shape
        return rows.new_empty(len(rows), stack.shape[-2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None]:
        stack = ctx.saved_tensors[0]
        return grads[0].new_empty(ctx.shape), torch.empty_like(stack) if ctx.trained else None


def _times(rows: Tensor, factor: Tensor) -> Tensor:
    factor = factor.to(rows.dtype)
    return linear(rows, factor) if factor.ndim == 2 else Grouped.apply(rows, factor)


class Branch(nn.Module):
    """A linear layer with a pair beside it.

    Where tensor parallelism cuts the inputs, the narrow result is a part of a sum, forward; where it cuts the outputs,
    so is its gradient, backward. A layer whose output is gathered has a whole pair.
    """

    def __init__(self, base: nn.Linear | TiedHead, rank: int, *, gathered: bool) -> None:
        super().__init__()
        self.base = base
        self.cut, self.group = (None, None) if gathered else _cut(base.weight)
        outputs, inputs = base.weight.shape if gathered else _share_of(base.weight)
        self.down = _factor(base.weight, rank, inputs)
        self.up = _factor(base.weight, outputs, rank)

    def forward(self, rows: Tensor) -> Tensor:
        narrow = _times(rows, self.down)
        if self.cut is not None:
            narrow = (_AllReduceForward if self.cut == 1 else _AllReduceBackward).apply(narrow, self.group)
        return self.base(rows) + _times(narrow, self.up)


class ExpertBranches(nn.Module):
    """The factors of the gate, up and down matrices of the experts of a rank; without the experts' axis: for all."""

    def __init__(self, experts: Any, adapter: Adapter, rank: int) -> None:
        super().__init__()
        count: int = experts.num_experts
        hidden: int = experts.down_proj.shape[1]
        inner = _share_of(experts.down_proj)[2]
        per_expert, outer_shared = (count,), adapter.experts in ("tied", "shared-outer")
        outer = () if outer_shared else per_expert
        core = () if adapter.experts == "tied" else per_expert
        like = experts.down_proj
        self.gate_down, self.up_down = (_factor(like, *outer, rank, hidden) for _ in range(2))
        self.gate_up, self.up_up = (_factor(like, *core, inner, rank) for _ in range(2))
        self.down_down = _factor(like, *core, rank, inner)
        self.down_up = _factor(like, *outer, hidden, rank)


def add_branches(model: Any, census: Census, adapter: Adapter) -> list[nn.Parameter]:
    """Freezes the model, adapts what the adapter adapts, and returns the factors. On the model's device and mode."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    known = {weight.name: weight for weight, _ in census.weights()}
    prefix = f"{model.base_model_prefix}.layers."
    unembedding = model.get_output_embeddings()
    modules: list[tuple[str, Any]] = list(model.named_modules())
    for name, module in modules:
        within = name.removeprefix(prefix).partition(".")[2] if name.startswith(prefix) else name
        if isinstance(module, nn.Linear | TiedHead):
            weight = known.get(f"{within}.weight")
            unstored = module is unembedding and weight is None and adapter.targets == "tinker"
            if unstored or (weight is not None and adapter.adapts(weight)):
                parent, _, leaf = name.rpartition(".")
                setattr(model.get_submodule(parent), leaf, Branch(module, adapter.rank, gathered=module is unembedding))
        elif hasattr(module, "gate_up_proj") and hasattr(module, "num_experts"):
            module.planned = ExpertBranches(module, adapter, adapter.expert_rank(census))
    model.config._experts_implementation = EXPERTS
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _cut(weight: Tensor) -> tuple[int | None, Any]:
    """The dimension that tensor parallelism cuts, and the ranks that have the other parts."""
    if isinstance(weight, DTensor) and "tp" in (axes := weight.device_mesh.mesh_dim_names or ()):
        placement: Any = weight.placements[axes.index("tp")]
        if not placement.is_replicate():
            return placement.dim, weight.device_mesh.get_group("tp")
    return None, None


def _share_of(weight: Tensor) -> tuple[int, ...]:
    """The shape a rank computes with: cut by tensor parallelism, whole over data."""
    cut, group = _cut(weight)
    return tuple(-(-size // group.size()) if axis == cut else size for axis, size in enumerate(weight.shape))


def _factor(like: Tensor, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape, dtype=torch.float32, device=like.device))


def run_experts(self: Any, rows: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """What transformers calls for a stack of experts: rows sorted by expert, their branches, and back."""
    each = chosen.size(-1)
    order = torch.argsort(chosen.reshape(-1))
    sorted_rows = rows[order // each]
    branches: ExpertBranches = self.planned
    gate = _times(_times(sorted_rows, branches.gate_down), branches.gate_up)
    up = _times(_times(sorted_rows, branches.up_down), branches.up_up)
    inner = self._apply_gate(_times(sorted_rows, self.gate_up_proj) + torch.cat([gate, up], dim=-1))
    out = _times(inner, self.down_proj) + _times(_times(inner, branches.down_down), branches.down_up)
    out = out * weights.reshape(-1)[order].unsqueeze(-1)
    back = torch.empty_like(order)
    back[order] = torch.arange(order.numel(), device=order.device)
    return out[back].view(len(rows), each, -1).sum(1).to(rows.dtype)
