"""Rotary positions: how fast each pair of a head's dimensions turns, by the ways that configs know to stretch it.

The formulas are those of transformers' modeling_rope_utils. Axes: T tokens, K pairs of dimensions.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anubhav.errors import BadInput


@dataclass(frozen=True, slots=True)
class Rotary:
    rates: tuple[float, ...]
    """Radians per position, of each pair."""
    size: float = 1.0
    """What the turned vector is multiplied by."""

    def angles(self, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        """(cosine, sine), (T, 1, K) each, in float32."""
        angles_T1K = positions_T.float()[:, None, None] * torch.tensor(self.rates, device=positions_T.device)
        return angles_T1K.cos() * self.size, angles_T1K.sin() * self.size


def read_rotary(options: Mapping[str, Any], theta: float, width: int, context: int) -> Rotary:
    """`options` are a config's rope_parameters or rope_scaling, `width` is how much of a head turns.

    Raises BadInput for a scaling that is not computed here.
    """
    kind = str(options.get("rope_type", options.get("type", "default")))
    if kind not in _SCALINGS or float(options.get("partial_rotary_factor", 1.0)) != 1.0:
        raise BadInput(
            f"Rotary positions of the kind {kind!r} ({str(dict(options))[:200]}) are not implemented",
            hint=f"Use a model with one of {', '.join(_SCALINGS)} over whole heads.",
        )
    rates_K = 1.0 / (float(options.get("rope_theta") or theta) ** (torch.arange(0, width, 2).float() / width))
    return _SCALINGS[kind](rates_K, dict(options) | {"theta": options.get("rope_theta") or theta, "context": context})


def _plain(rates_K: Tensor, _: Mapping[str, Any]) -> Rotary:
    return Rotary(tuple(rates_K.tolist()))


def _linear(rates_K: Tensor, options: Mapping[str, Any]) -> Rotary:
    return Rotary(tuple((rates_K / float(options["factor"])).tolist()))


def _llama3(rates_K: Tensor, options: Mapping[str, Any]) -> Rotary:
    """Slow pairs are slowed down by the factor, fast ones left alone, those between blended."""
    factor, low, high = (float(options[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(options["original_max_position_embeddings"])
    waves_K = 2 * math.pi / rates_K
    share_K = (original / waves_K - low) / (high - low)
    blended_K = (1 - share_K) * rates_K / factor + share_K * rates_K
    slow_K, fast_K = waves_K > original / low, waves_K < original / high
    found_K = torch.where(slow_K, rates_K / factor, torch.where(fast_K, rates_K, blended_K))
    return Rotary(tuple(found_K.tolist()))


def _yarn(rates_K: Tensor, options: Mapping[str, Any]) -> Rotary:
    """YaRN (Peng et al., 2023), with DeepSeek's two mscale options."""
    original = float(options["original_max_position_embeddings"])
    factor = float(options.get("factor") or options["context"] / original)
    size = options.get("attention_factor")
    if size is None:
        over, under = options.get("mscale"), options.get("mscale_all_dim")
        size = mscale(factor, over) / mscale(factor, under) if over and under else mscale(factor)
    width = 2 * len(rates_K)

    def pair(turns: float) -> float:
        """The dimension that turns so often within the original context."""
        return width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(float(options["theta"])))

    low, high = pair(float(options.get("beta_fast") or 32)), pair(float(options.get("beta_slow") or 1))
    if options.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    high = high + 0.001 if low == high else high
    slowed_K = ((torch.arange(len(rates_K)).float() - low) / (high - low)).clamp(0, 1)
    return Rotary(tuple((rates_K / factor * slowed_K + rates_K * (1 - slowed_K)).tolist()), float(size))


def mscale(factor: float, weight: float = 1.0) -> float:
    """YaRN's correction of attention's temperature."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


_SCALINGS: Mapping[str, Callable[[Tensor, Mapping[str, Any]], Rotary]] = {
    "default": _plain,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}
