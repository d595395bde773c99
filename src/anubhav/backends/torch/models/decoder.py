"""What trainer and sampler ask of a model, whoever computes it: our own layers (`model`) or transformers' (`foreign`).

Axes: T tokens, E hidden, V vocabulary, H query heads, G key-value heads, D head dimension.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import Segment
from anubhav.backends.torch.models.pausing import Pause
from anubhav.backends.torch.models.routing import Routing

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q_THD, k_TGD, v_TGD) → o_THD."""


class Decoder(Protocol):
    @property
    def config(self) -> ModelConfig: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def head(self) -> FrozenLinear: ...

    def hidden(
        self,
        tokens_T: Tensor,
        positions_T: Tensor,
        segments: Sequence[Segment],
        attend: Attend,
        pause: Pause | None = None,
        routing: Routing | None = None,
    ) -> Tensor:
        """The final hidden states, (T, E), of which the head makes logits."""
        ...

    def logits(self, hidden_TE: Tensor, segments: Sequence[Segment]) -> Tensor: ...
