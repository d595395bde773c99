"""A compact decoder over flat tokens: the same function serves training, prefill and decoding, for all families.

Attention over other tokens is what differs between the three, and the caller brings it as `attend`. What a family has
of its own is in its configuration and in the parts of its layers.
Axes: T tokens, E hidden, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.layers.elementwise import rms_norm
from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import Segment, linear
from anubhav.backends.torch.layers.rotary import Rotary
from anubhav.backends.torch.models.attention import Angles, Attention, read_attention
from anubhav.backends.torch.models.decoder import Attend
from anubhav.backends.torch.models.dense import Dense, read_dense
from anubhav.backends.torch.models.families import read_config
from anubhav.backends.torch.models.latent import LatentAttention, read_latent
from anubhav.backends.torch.models.mixture import Mixture, read_mixture
from anubhav.backends.torch.models.pausing import Pause, take_break
from anubhav.backends.torch.models.routing import Routing
from anubhav.backends.torch.models.weights import Weights


@dataclass(frozen=True, slots=True)
class Layer:
    attention_norm_E: Tensor
    attention: Attention | LatentAttention
    attention_out_norm_E: Tensor | None
    mlp_norm_E: Tensor
    mlp: Dense | Mixture
    mlp_out_norm_E: Tensor | None


class Model:
    def __init__(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> None:
        self.config = read_config(folder)
        self.device, self.dtype = device, dtype
        read = Weights(folder, device, dtype)
        embedding_VE = read("model.embed_tokens.weight")
        self.layers = [_read_layer(self.config, read, number) for number in range(self.config.layers)]
        self.norm_E = read.norm("model.norm.weight", self.config.norm_shift)
        self.head = FrozenLinear(embedding_VE if self.config.tied else read("lm_head.weight"))
        self.embedding_VE = self.head.rows_OI if self.config.tied else embedding_VE

    def hidden(
        self,
        tokens_T: Tensor,
        positions_T: Tensor,
        segments: Sequence[Segment],
        attend: Attend,
        pause: Pause | None = None,
        routing: Routing | None = None,
    ) -> Tensor:
        """The final normalised hidden states, (T, E). `pause` is called before each half of a layer, forward and
        backward.

        `routing` says which experts to go to, and learns which it were.
        """
        config = self.config
        angles: dict[Rotary, Angles] = {}
        # What is added up over the layers is float32 whatever they compute in.
        x_TE = self.embed(tokens_T)
        for number, layer in enumerate(self.layers):
            x_TE = take_break(x_TE, pause)
            rotary = config.rotary_of(number)
            if rotary not in angles:
                angles[rotary] = rotary.angles(positions_T)
            h_TE = rms_norm(x_TE, layer.attention_norm_E, config.norm_eps)
            o_TE = layer.attention(h_TE, angles[rotary], segments, attend)
            x_TE = take_break(x_TE + self._out(o_TE, layer.attention_out_norm_E), pause)
            h_TE = rms_norm(x_TE, layer.mlp_norm_E, config.norm_eps)
            x_TE = x_TE + self._out(layer.mlp(h_TE, segments, routing), layer.mlp_out_norm_E)
        return rms_norm(x_TE, self.norm_E, config.norm_eps)

    def embed(self, tokens_T: Tensor) -> Tensor:
        """(T, E), in float32."""
        x_TE = self.embedding_VE[tokens_T].float()
        if self.config.embedding_scale == 1.0:
            return x_TE
        # Rounded to the compute type, as the model was trained.
        return x_TE * float(torch.tensor(self.config.embedding_scale, dtype=self.dtype))

    def _out(self, y_TE: Tensor, norm_E: Tensor | None) -> Tensor:
        return y_TE if norm_E is None else rms_norm(y_TE, norm_E, self.config.norm_eps)

    def logits(self, hidden_TE: Tensor, segments: Sequence[Segment]) -> Tensor:
        """(T, V) in the compute type. Keep T small: one row of a 50k vocabulary is 200 kB."""
        return linear(hidden_TE, self.head, (self.config.layers, "head"), segments)


def _read_layer(config: ModelConfig, read: Weights, number: int) -> Layer:
    def norm(name: str) -> Tensor:
        return read.norm(f"model.layers.{number}.{name}_layernorm.weight", config.norm_shift)

    # Where there are norms behind attention and MLP, the one before the MLP has another name.
    out = config.out_norms
    mixture = config.mixture if config.mixed(number) else None
    dense = ("gate_up", "down")
    return Layer(
        attention_norm_E=norm("input"),
        attention=read_latent(config, config.latent, read, number)
        if config.latent
        else read_attention(config, read, number),
        attention_out_norm_E=norm("post_attention") if out else None,
        mlp_norm_E=norm("pre_feedforward" if out else "post_attention"),
        mlp=read_mixture(mixture, read, number)
        if mixture
        else read_dense(read, number, "mlp", dense, gelu=config.gelu),
        mlp_out_norm_E=norm("post_feedforward") if out else None,
    )
