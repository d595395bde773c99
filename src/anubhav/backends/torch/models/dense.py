"""The gated MLP of a dense layer, and of the experts that every token of a mixture goes to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from anubhav.backends.torch.layers.elementwise import geglu, swiglu
from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import Segment, linear
from anubhav.backends.torch.models.routing import Routing
from anubhav.backends.torch.models.weights import Weights


@dataclass(frozen=True, slots=True)
class Dense:
    layer: int
    groups: tuple[str, str]
    """Where its LoRA stands."""
    gate_up: FrozenLinear
    down: FrozenLinear
    gated: Callable[[Tensor], Tensor]

    def __call__(self, h_TE: Tensor, segments: Sequence[Segment], _: Routing | None) -> Tensor:
        up, down = self.groups
        f_TF = self.gated(linear(h_TE, self.gate_up, (self.layer, up), segments))
        return linear(f_TF, self.down, (self.layer, down), segments)


def read_dense(read: Weights, layer: int, module: str, groups: tuple[str, str], *, gelu: bool = False) -> Dense:
    """`module` is its name in the layer's files, `mlp` or one below that."""
    prefix = f"model.layers.{layer}.{module}."
    gate_up = read.together(prefix + "gate_proj.weight", prefix + "up_proj.weight")
    down = read(prefix + "down_proj.weight")
    return Dense(layer, groups, FrozenLinear(gate_up), FrozenLinear(down), geglu if gelu else swiglu)
