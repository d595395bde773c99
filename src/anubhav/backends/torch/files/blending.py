"""The weighted sum of adapters as one adapter, exactly: their factors side by side, so its rank is the sum of theirs.

Σ c (32 / r) B A = (32 / Σ r) [c (Σ r / r) B …] [A …], for each linear layer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from anubhav.backends.torch.layers.adapters import Adapter, Pair, Site, fresh_a, fuse, sites, split, widths
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.types.training import LoraSpec


def blend(config: ModelConfig, parts: Sequence[tuple[Adapter, float]], device: torch.device) -> Adapter:
    """What an adapter does not train counts as a fresh A and a zero B, as it does for imports."""
    specs = [adapter.spec for adapter, _ in parts]
    spec = LoraSpec(
        rank=sum(one.rank for one in specs),
        train_attn=any(one.train_attn for one in specs),
        train_mlp=any(one.train_mlp for one in specs),
        train_unembed=any(one.train_unembed for one in specs),
    )
    generator = torch.Generator().manual_seed(spec.seed)
    pairs: dict[Site, Pair] = {}
    for site in sites(config, spec):
        columns = [_factors(config, adapter, site, generator, device) for adapter, _ in parts]
        shares = [share * adapter.scale * spec.rank / spec.alpha for adapter, share in parts]
        # One row of these for each module that is fused in the base.
        modules = list(zip(*columns, strict=True))
        a_RI = torch.cat([a for factors in modules for a, _ in factors])
        b_parts = [torch.cat([b * share for (_, b), share in zip(row, shares, strict=True)], 1) for row in modules]
        pairs[site] = fuse(site[1], spec.rank, a_RI, b_parts, device)
    return Adapter(spec, pairs)


def _factors(
    config: ModelConfig, adapter: Adapter, site: Site, generator: torch.Generator, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """(A, B) of each module at the site."""
    inputs, outputs = widths(config, site[1])
    rank = adapter.spec.rank
    if pair := adapter.pairs.get(site):
        found = split(config, adapter.spec, site[1], pair.a_RI.detach(), pair.b_OR.detach())
        return [(a, b) for _, a, b in found]
    return [(fresh_a(rank, inputs, generator).to(device), torch.zeros(width, rank, device=device)) for width in outputs]
