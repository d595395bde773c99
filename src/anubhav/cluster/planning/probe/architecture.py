"""The architecture as transformers builds it, on the meta device; sharded by transformers over a fake process group."""

import copy
import functools
import json
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import transformers
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from torch.distributed.tensor import DTensor
from transformers.distributed import DistributedConfig

from anubhav.cluster.layout import Layout
from anubhav.errors import BadInput

TRANSFORMERS: Any = transformers


def build(config: Mapping[str, Any], dtype: torch.dtype = torch.bfloat16) -> Any:
    """The causal language model of this configuration, with shapes and without values. Made once, so not to be changed.

    Raises BadInput for what transformers does not know or cannot build.
    """
    return _build(json.dumps(dict(config), sort_keys=True), dtype)


def part(config: Mapping[str, Any], layers: Sequence[int], dtype: torch.dtype = torch.bfloat16) -> Any:
    """A copy of it with only these layers, to do with as one likes. Copying few is quicker than building all anew."""
    whole = build(config, dtype)
    base: Any = getattr(whole, whole.base_model_prefix)
    kept = base.layers
    base.layers = nn.ModuleList([kept[index] for index in layers])
    try:
        return copy.deepcopy(whole)
    finally:
        base.layers = kept


@functools.lru_cache(maxsize=1)
def _build(text: str, dtype: torch.dtype) -> Any:
    config: dict[str, Any] = json.loads(text)
    named: list[str] = config.get("architectures") or []
    family: Any = getattr(TRANSFORMERS, named[0], None) if named else None
    if family is None or not named[0].endswith("ForCausalLM"):
        raise BadInput(
            f"{named[0] if named else 'A model without architectures'} is no causal language model of transformers "
            f"{TRANSFORMERS.__version__}",
            hint="Plan a …ForCausalLM whose code comes with transformers.",
        )
    kept = {key: value for key, value in config.items() if key not in ("model_type", "quantization_config", "auto_map")}
    try:
        with torch.device("meta"):
            return family(family.config_class.from_dict(kept)).to(dtype).eval()
    except (TypeError, ValueError, KeyError, AttributeError, StrictDataclassError) as problem:
        raise BadInput(
            f"transformers cannot build {named[0]} of this configuration ({' '.join(str(problem).split())})",
            hint="Is its config.json complete?",
        ) from problem


@contextmanager
def world(ranks: int) -> Generator[None]:
    """This process as rank 0 of so many, whose collectives do nothing."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    os.environ.update(WORLD_SIZE=str(ranks), RANK="0", LOCAL_RANK="0")
    dist.init_process_group("fake", rank=0, world_size=ranks, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def shard(model: Any, layout: Layout, ep_implementation: str = "auto") -> Any:
    """One pipeline stage over its tp × fsdp ranks, by the code that loads it there. Within a `world` of as many."""
    if head := tied(model) and isinstance(model.lm_head, nn.Linear):
        # FSDP2 would shard the one matrix twice, once under each name.
        model.lm_head = nn.Identity()
    config = DistributedConfig(
        tp_size=layout.tp,
        tp_plan="auto" if layout.tp > 1 else None,
        fsdp_size=layout.fsdp,
        ep_size=layout.ep,
        ep_implementation=ep_implementation,
    )
    config, _, meshes = type(model).prepare_distribute_model(config)
    model = type(model).maybe_distribute_model(model, config, meshes)
    if head:
        model.lm_head = TiedHead(model.get_input_embeddings())
    return model


class TiedHead(nn.Module):
    """The embedding's matrix as the unembedding: whatever stands there when it is called, sharded or gathered."""

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self._kept = (embedding,)  # in a tuple, so that its parameter is not found twice

    @property
    def weight(self) -> Any:
        return self._kept[0].weight

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(rows, self.weight)


def stage(config: Mapping[str, Any], layers: range, dtype: torch.dtype = torch.bfloat16) -> Any:
    """The model as a stage with these layers: the embedding is the first stage's, norm and unembedding the last's."""
    model = part(config, layers, dtype)
    base: Any = getattr(model, model.base_model_prefix)
    whole = build(config, dtype)
    last = layers.stop == len(getattr(whole, whole.base_model_prefix).layers)
    absent: list[tuple[Any, str, str]] = []
    if layers.start > 0 and not (last and tied(model)):
        absent.append((base, "embed_tokens", f"{model.base_model_prefix}.embed_tokens"))
    if not last:
        absent += [(base, "norm", f"{model.base_model_prefix}.norm"), (model, "lm_head", "lm_head")]
    for parent, attribute, name in absent:
        setattr(parent, attribute, nn.Identity())
        for plan in (model._tp_plan, model._fsdp_plan):
            plan.pop(name, None)
    return model


def tied(model: Any) -> bool:
    return bool(getattr(model.config, "tie_word_embeddings", False))


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What of it lies on this rank."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def held(tensors: Iterable[torch.Tensor]) -> int:
    """The bytes of what of them lies on this rank."""
    return sum(part.numel() * part.element_size() for part in map(local, tensors))
