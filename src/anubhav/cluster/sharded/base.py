"""One rank's part of the frozen base: loaded shard by shard, run as transformers runs it, never trained.

Adapters are put on from outside by hooks (`adapting`), so this part knows nothing of them. Axes: B sequences, S tokens
of one on this rank, E hidden, N chosen positions, V vocabulary.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers.distributed import DistributedConfig

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.models.families import read_config
from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded import attention
from anubhav.cluster.sharded.groups import Groups, make_groups
from anubhav.cluster.sharded.layout import Seat, check
from anubhav.cluster.sharded.staging import staged
from anubhav.errors import BadInput, MissingPart

Select = Callable[[Tensor], Tensor]
"""Of the hidden states (positions, E) of this rank: those that the unembedding is to see."""
_PLAIN = ("colwise_gather_output", "colwise_rep")
"""Styles whose input and output are whole on every rank."""


class Base:
    def __init__(self, folder: Path, layout: Layout, rank: int, device: torch.device, dtype: torch.dtype) -> None:
        """Raises BadInput for a model or a layout that this cannot carry. Every rank must call it at once."""
        self.config: ModelConfig = read_config(folder)
        check(layout, self.config)
        self.layout, self.seat, self.device, self.dtype = layout, Seat.of(rank, layout), device, dtype
        self.groups: Groups = make_groups(layout)
        self.parallel = DistributedConfig(
            tp_size=layout.tp, fsdp_size=layout.fsdp, ep_size=layout.ep, ep_implementation="all_to_all"
        )
        self.net: Any = self._load(folder)
        self.styles = self._read_styles()
        self._select: Select = _everything
        self.head: nn.Module = self.net.get_output_embeddings()
        if self.last:
            self.head.register_forward_pre_hook(self._choose)
        self.net.get_input_embeddings().register_forward_hook(_begin_gradient)
        if self.groups.sequence:
            attention.split_sequences(self.net, self.groups.sequence)

    @property
    def layers(self) -> range:
        """Those of this rank's pipeline stage, by their numbers in the whole model."""
        each = self.config.layers // self.layout.pp
        first = self.seat.pp * each
        return range(first, self.config.layers if self.last else first + each)

    @property
    def decoder_layers(self) -> list[nn.Module]:
        """Their modules."""
        return [self.net.get_submodule(f"{self.config.layers_name}.{number}") for number in self.layers]

    @property
    def last(self) -> bool:
        """This rank has the unembedding."""
        return self.seat.pp == self.layout.pp - 1

    @property
    def sequence_part(self) -> int:
        """Which part of each sequence this rank has."""
        return self.seat.fsdp % self.layout.sp

    def logits(self, tokens_BS: Tensor, select: Select) -> Tensor:
        """(N, V) at the selected positions. Not for a pipeline."""
        self._select = select
        out = self.net(input_ids=tokens_BS, position_ids=self._positions(tokens_BS), use_cache=False)
        return out.logits[0]

    def hidden(self, x: Tensor) -> Tensor:
        """What the layers of this stage make of tokens, or of the stage before: (B, S, E)."""
        given = "input_ids" if self.seat.pp == 0 else "inputs_embeds"
        inner = getattr(self.net, self.net.base_model_prefix)
        return inner(**{given: x}, position_ids=self._positions(x), use_cache=False).last_hidden_state

    def unembed(self, hidden_NE: Tensor) -> Tensor:
        """(N, V). For the last stage of a pipeline."""
        self._select = _everything
        return self.head(hidden_NE[None])[0]

    def rest(self) -> None:
        """Give back what FSDP keeps gathered after a forward pass that no backward pass followed."""
        for module in self.net.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def _load(self, folder: Path) -> Any:
        attention.register()
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()  # it warns of rules for layers that a model does not have
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module")  # nothing is added in place
        model_class = getattr(transformers, self.config.architecture)
        if self.layout.pp > 1:
            model_class = staged(model_class, self.layout, self.device)
        net, about = model_class.from_pretrained(
            folder,
            dtype=self.dtype,
            distributed_config=self.parallel,
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
        if lacks := sorted(about["missing_keys"]):
            raise MissingPart(f"The model's files lack the tensor {lacks[0]}", hint="Pull the model again.")
        net.set_attn_implementation(attention.NAME)
        net.eval().requires_grad_(requires_grad=False)
        return net.to(self.device) if self.layout.ranks == 1 else net

    def _positions(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        first = self.sequence_part * length
        return torch.arange(first, first + length, device=x.device)[None]

    def _choose(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return (self._select(args[0].flatten(0, 1))[None],)

    def _read_styles(self) -> dict[str, str]:
        """How each linear layer is split over tensor ranks, by name; those that are whole are not there."""
        if self.layout.tp == 1:
            return {}
        plan: dict[str, str] = self.net._resolve_parallel_plans(self.parallel)[0]
        found = {name: style for name, style in plan.items() if isinstance(self._at(name), nn.Linear)}
        for name, style in found.items():
            if style not in ("colwise", "rowwise", *_PLAIN):
                raise BadInput(f"{name} is split in a way adapters cannot follow ({style})", hint="Use tp 1.")
        return {name: style for name, style in found.items() if style not in _PLAIN}

    def _at(self, name: str) -> Any:
        try:
            return self.net.get_submodule(name)
        except AttributeError:  # a parameter, not a module
            return None


def _everything(hidden: Tensor) -> Tensor:
    return hidden


def _begin_gradient(_module: nn.Module, _args: tuple[Any, ...], out: Tensor) -> Tensor:
    """Gradients flow through every layer on every rank, whatever the adapter trains: collectives must meet."""
    return out.detach().requires_grad_() if torch.is_grad_enabled() else out
