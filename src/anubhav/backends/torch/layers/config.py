"""The shape of a model: what its layers are made of. `families` reads it from a Hugging Face config.json."""

from dataclasses import dataclass

from anubhav.backends.torch.layers.rotary import Rotary


@dataclass(frozen=True, slots=True)
class MixtureShape:
    """Which experts a token goes to, and how large they are."""

    experts: int
    each: int
    """Experts per token."""
    width: int
    """The inner width of one."""
    layers: tuple[int, ...]
    """Those that are mixtures; the others are dense."""
    normed: bool
    """The weights of a token's experts add up to 1, before `scale`."""
    scale: float = 1.0
    shared: int = 0
    """The inner width of what every token goes to besides; 0 where there is nothing."""
    sigmoid: bool = False
    """DeepSeek's scores, with a correction that chooses but does not weigh; else a softmax."""
    groups: int = 1
    """Experts are chosen from the best groups only."""
    groups_kept: int = 1


@dataclass(frozen=True, slots=True)
class LatentShape:
    """DeepSeek's attention over latents. `ModelConfig.head_dim` and `v_dim` are then those of the latents."""

    query_rank: int | None
    """None: queries are made in one step."""
    rank: int
    """Of the keys and values."""
    plain: int
    """Dimensions of a head without positions."""
    turned: int
    """Dimensions of a head with positions, which all heads share on the side of the keys."""
    values: int
    """Dimensions of a head's values."""
    interleaved: bool
    """The pairs that turn stand side by side in the weights."""


@dataclass(frozen=True, slots=True)
class ForeignLinear:
    """A linear layer of a model that transformers computes, which LoRA may adapt: a group of its own."""

    group: str
    module: str
    """Its name below the layer's."""
    inputs: int
    outputs: int
    attention: bool
    """It belongs to attention, else to the MLP."""
    layers: tuple[int, ...]
    """Those that have it."""


@dataclass(frozen=True, slots=True)
class ForeignShape:
    """What transformers calls the parts of a model that it computes."""

    layers_at: str
    """What stands before the number of a layer."""
    attends: tuple[str, ...]
    """Per layer the module that attends; empty where none does."""
    head: str
    linears: tuple[ForeignLinear, ...]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    """Of queries and keys, as attention sees them."""
    v_dim: int
    """Of values, and so of what attention gives per head."""
    intermediate: int
    vocab: int
    context: int
    norm_eps: float
    tied: bool
    """The unembedding is the embedding matrix."""
    rotary: Rotary
    windows: tuple[int | None, ...]
    """Per layer: a token looks at so many tokens, itself among them; None is all of them."""
    local_rotary: Rotary | None = None
    """Of the layers with a window, where those differ."""
    qkv_bias: bool = False
    qk_norm: bool = False
    query_scale: float = 1.0
    """Queries are multiplied by it, so that attention's own factor is always 1/√head_dim."""
    gelu: bool = False
    """The gate's activation is GELU (by tanh) instead of SiLU."""
    norm_shift: float = 0.0
    """What the stored weights of norms lack."""
    out_norms: bool = False
    """What attention and MLP give is normed too, before it is added."""
    embedding_scale: float = 1.0
    latent: LatentShape | None = None
    mixture: MixtureShape | None = None
    foreign: ForeignShape | None = None
    """Of a model that transformers computes. What only our own layers read (rotary, norms, widths) is then empty."""

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def head_name(self) -> str:
        """The module of the unembedding."""
        return self.foreign.head if self.foreign else "lm_head"

    @property
    def layers_name(self) -> str:
        """What stands before the number of a layer."""
        return self.foreign.layers_at if self.foreign else "model.layers"

    def module_name(self, layer: int, module: str) -> str:
        """The whole name of a module; the one behind the last layer is the unembedding."""
        return self.head_name if layer == self.layers else f"{self.layers_name}.{layer}.{module}"

    def mixed(self, layer: int) -> bool:
        """Whether this layer is a mixture of experts."""
        return self.mixture is not None and layer in self.mixture.layers

    def rotary_of(self, layer: int) -> Rotary:
        return self.local_rotary if self.local_rotary and self.windows[layer] is not None else self.rotary
