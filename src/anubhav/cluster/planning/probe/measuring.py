"""What a layout really puts on a rank: every stage sharded and adapted, its tensors added up, its optimizer stepped."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.layout import stages
from anubhav.cluster.planning.probe.architecture import held, shard, stage, world
from anubhav.cluster.planning.probe.branches import add_branches
from anubhav.cluster.planning.probe.figures import Measured


def measure(
    config: Mapping[str, Any], census: Census, adapter: Adapter, layout: Layout, dtype: torch.dtype = torch.bfloat16
) -> tuple[Measured, ...]:
    """Of each pipeline stage."""
    return tuple(_measure(config, census, adapter, layout, layers, dtype) for layers in stages(census, layout))


def _measure(
    config: Mapping[str, Any], census: Census, adapter: Adapter, layout: Layout, layers: range, dtype: torch.dtype
) -> Measured:
    with world(layout.stage_ranks):
        model = shard(stage(config, layers, dtype), layout)
        weights = held(model.parameters())
        factors = add_branches(model, census, adapter)
        moments = sum(_moments(shape) * times for shape, times in Counter(factor.shape for factor in factors).items())
        for factor in factors:
            factor.grad = torch.empty_like(factor)
        gradients = [factor.grad for factor in factors if factor.grad is not None]
        return Measured(weights, held(list(factors)), moments, held(gradients))


def _moments(shape: torch.Size) -> int:
    """Bytes that AdamW keeps of a factor after a step."""
    factor = torch.empty(shape, dtype=torch.float32, device="meta")
    factor.grad = torch.empty_like(factor)
    optimizer = torch.optim.AdamW([factor], lr=1e-4, foreach=False)
    optimizer.step()
    return held([value for value in optimizer.state[factor].values() if value.ndim])
