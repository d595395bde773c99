"""A model that transformers computes, with our attention and our adapters: slower than our own layers, as useful.

Its modules see one sequence of flat tokens with positions; who attends to whom is the caller's, as it is everywhere.
Each linear layer that LoRA adapts is replaced by ours, so adapters mix in a batch, the base gets no gradients and the
weights are prepacked. What transformers makes of the final hidden states besides the unembedding (a scale) is kept.
Axes: T tokens, E hidden, V vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import Segment, linear
from anubhav.backends.torch.models import foreign_trial
from anubhav.backends.torch.models.decoder import Attend
from anubhav.backends.torch.models.foreign_attention import (
    NAME,
    Adaptable,
    Visit,
    break_before,
    load_transformers,
    visiting,
)
from anubhav.backends.torch.models.foreign_shape import read_foreign
from anubhav.backends.torch.models.pausing import Pause
from anubhav.backends.torch.models.routing import Routing
from anubhav.errors import BadInput, MissingPart


class ForeignModel:
    """A `Decoder`. Raises BadInput when ours and transformers' own logits of a few tokens are not the same."""

    def __init__(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> None:
        self.config = read_foreign(folder)
        self.device, self.dtype = device, dtype
        self._net = _load(folder, device, dtype)
        trial = foreign_trial.expect(self._net, self.config, device)
        self._net.set_attn_implementation(NAME)
        self._layers = _places(self._net, self.config)
        self.head = _take_over(self._net, self.config)
        foreign_trial.check(self, trial)

    def hidden(
        self,
        tokens_T: Tensor,
        positions_T: Tensor,
        segments: Sequence[Segment],
        attend: Attend,
        pause: Pause | None = None,
        routing: Routing | None = None,
    ) -> Tensor:
        """What its unembedding makes logits of, (T, E). `pause` is called before each layer, forward and backward."""
        if len(positions_T) and int(positions_T.max()) >= self.config.context:
            raise BadInput(f"This model has {self.config.context} positions", hint="Shorten the sequence.")
        with visiting(Visit(self._layers, segments, attend, pause)):
            out = self._net(
                input_ids=tokens_T[None],
                position_ids=positions_T[None],
                # Given, so that positions that repeat are not taken for sequences of a batch.
                attention_mask=torch.ones_like(tokens_T)[None],
                use_cache=False,
            )
        return out.logits[0].to(self.dtype)

    def logits(self, hidden_TE: Tensor, segments: Sequence[Segment]) -> Tensor:
        """(T, V) in the compute type. Keep T small: one row of a 50k vocabulary is 200 kB."""
        return linear(hidden_TE, self.head, (self.config.layers, "head"), segments)


def _load(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    transformers = load_transformers()
    net, about = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="eager",
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    if lacks := sorted(about["missing_keys"]):
        raise MissingPart(f"The model's files lack the tensor {lacks[0]}", hint="Pull the model again.")
    return net.eval().requires_grad_(requires_grad=False).to(device)


def _places(net: Any, config: ModelConfig) -> dict[nn.Module, int]:
    assert config.foreign
    return {net.get_submodule(name): layer for layer, name in enumerate(config.foreign.attends) if name}


def _take_over(net: Any, config: ModelConfig) -> FrozenLinear:
    """Put our layers where adapters can stand; returns the unembedding, behind which nothing of the net is left."""
    assert config.foreign
    for one in config.foreign.linears:
        for layer in one.layers:
            name = config.module_name(layer, one.module)
            _put(net, name, Adaptable(_frozen(net.get_submodule(name)), (layer, one.group)))
    for layer in net.get_submodule(config.layers_name):
        break_before(layer)
    head = _frozen(net.get_submodule(config.head_name))
    _put(net, config.head_name, nn.Identity())
    return head


def _frozen(layer: Any) -> FrozenLinear:
    return FrozenLinear(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())


def _put(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, module)
