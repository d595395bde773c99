"""What takes the place of kernels while a pass is traced: shapes and memory as on a GPU, no values.

Attention keeps queries, keys, values, its output and one sum a row, as a fused kernel does; on shapes alone torch would
choose the one with all scores. Experts get as many tokens each, because who goes where is not known beforehand.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.tensor import DTensor, Replicate, Shard
from transformers.distributed.expert_parallel import EPImplementation, EPImplementationInterface
from transformers.distributed.parallel_utils import _WaitTensor
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from anubhav.cluster.planning.probe.branches import EXPERTS, run_experts

EXPERT_PARALLEL = "planned_balanced"
ATTENTION = "planned_attention"


def register() -> None:
    """In transformers' public registries, of this process."""
    ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, _no_mask)
    ALL_EXPERTS_FUNCTIONS.register(EXPERTS, run_experts)
    EPImplementationInterface.register(EXPERT_PARALLEL, Balanced)


class Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        out = queries.new_empty((*queries.shape[:-1], values.shape[-1]))
        ctx.save_for_backward(queries, keys, values, out, queries.new_empty(queries.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values, _, _ = ctx.saved_tensors
        return torch.empty_like(queries), torch.empty_like(keys), torch.empty_like(values)


def _attend(module: Any, queries: Tensor, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
    return Fused.apply(queries, keys, values).transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


class Balanced(EPImplementation):
    """The exchange of transformers' `all_to_all`, with equal shares instead of counts read back from the device."""

    def __call__(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        sliced = [hidden_states, top_k_index, top_k_weights]
        tokens = len(hidden_states)
        if self.tp_mesh.size() > 1:
            sliced = [
                DTensor.from_local(one, self.tp_mesh, [Replicate()], run_check=False)
                .redistribute(self.tp_mesh, [Shard(0)])
                .to_local()
                for one in sliced
            ]
        output = self._exchange(*sliced)
        if self.tp_mesh.size() == 1:
            return output
        shape = torch.Size((tokens, output.size(-1)))
        whole = DTensor.from_local(output, self.tp_mesh, [Shard(0)], shape=shape, stride=(shape[1], 1))
        return whole.full_tensor()

    def _exchange(self, rows: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        each, ranks, group = chosen.size(-1), self.ep_mesh.size(), self.ep_mesh.get_group()
        pairs = len(rows) * each
        shares = [pairs // ranks] * ranks
        order = torch.argsort(chosen.reshape(-1))
        here = _WaitTensor.apply(all_to_all_single_autograd(rows[order // each], shares, shares, group))
        experts: Any = self.num_local_experts
        ids = torch.arange(experts, device=rows.device).repeat_interleave(-(-pairs // experts))[:pairs, None]
        out = self.experts_forward(here, ids, torch.ones_like(ids, dtype=here.dtype))
        back = _WaitTensor.apply(all_to_all_single_autograd(out, shares, shares, group))
        placed = torch.empty_like(back)
        placed[order] = back
        return (placed.view(*weights.shape, -1) * weights.unsqueeze(-1)).sum(dim=1)
