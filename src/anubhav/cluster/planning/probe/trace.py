"""A training pass over tensors that have only a shape: the live bytes at their peak, and every collective.

Forward and backward are those of the real modules, sharded by transformers, with activation checkpointing; attention
and grouped multiplications are stand-ins with a fused kernel's memory. A few layers are traced at two depths: the
layers that follow are alike, so the rest is the difference between the two.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed.fsdp._fully_shard._fsdp_param as fsdp_param
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.memory import LOGITS
from anubhav.cluster.planning.probe.architecture import local, part, shard, world
from anubhav.cluster.planning.probe.branches import add_branches
from anubhav.cluster.planning.probe.figures import Traced
from anubhav.cluster.planning.probe.standins import ATTENTION, EXPERT_PARALLEL, register


@dataclass(frozen=True, slots=True)
class _Pass:
    """Of a model of few layers: the peaks of its phases, because not each of them grows with its depth alike."""

    peaks: Mapping[str, int]
    calls: Mapping[str, int]
    sizes: Mapping[str, int]


def trace(config: Mapping[str, Any], census: Census, adapter: Adapter, layout: Layout, tokens: int) -> Traced:
    """Of one micro-batch of so many tokens on each rank, without pipeline and sequence parallelism."""
    depth = len(census.layers)
    short = census.layers.index(census.layers[-1]) + 2
    uniform = set(census.layers[short - 2 :]) == {census.layers[-1]}
    if not uniform or short + 1 >= depth:
        whole = _trace(config, census, adapter, layout, tokens, depth)
        return Traced(max(whole.peaks.values()), whole.calls, whole.sizes)
    first, second = (_trace(config, census, adapter, layout, tokens, layers) for layers in (short, short + 1))

    def extend(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
        return {name: a[name] + (depth - short) * (b[name] - a[name]) for name in a}

    peaks = {**extend(first.peaks, second.peaks), "rest": second.peaks["rest"]}
    return Traced(max(peaks.values()), extend(first.calls, second.calls), extend(first.sizes, second.sizes))


def _trace(
    config: Mapping[str, Any], census: Census, adapter: Adapter, layout: Layout, tokens: int, layers: int
) -> _Pass:
    register()
    model = part(config, range(layers))
    model.config._attn_implementation = ATTENTION
    with world(layout.ranks):
        model = shard(model, layout, EXPERT_PARALLEL)
        return _step(model, census, adapter, tokens)


def _step(model: Any, census: Census, adapter: Adapter, tokens: int) -> _Pass:
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        add_branches(model, census, adapter)
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
        live, calls = Live(), Collectives()
        for parameter in model.parameters():
            live.add(local(parameter))
        resident = live.now
        ids = torch.zeros((1, tokens), dtype=torch.long)
        with live.following_fsdp(), calls, live:
            _watch(getattr(model, model.base_model_prefix), live)
            logits = model(input_ids=ids, position_ids=ids, use_cache=False, logits_to_keep=LOGITS).logits
            live.mark("forward")
            torch.log_softmax(logits.float(), dim=-1).sum().backward()
            live.mark("rest")
    peaks = {name: peak - resident for name, peak in live.peaks.items()}
    return _Pass(peaks, dict(calls.calls), dict(calls.sizes))


def _watch(base: Any, live: "Live") -> None:
    """Marks the phases of backward: `head` until the last layer's begins, `last` until the one's before it does."""

    def watch(phase: str, output: Any) -> None:
        (output[0] if isinstance(output, tuple) else output).register_hook(lambda _: live.mark(phase))

    for layer, phase in zip(reversed(base.layers), ("head", "last"), strict=False):
        layer.register_forward_hook(lambda _, __, output, phase=phase: watch(phase, output))


class Collectives(TorchDispatchMode):
    """Counts what is sent, by name, and its bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        space, _, name = func._schema.name.partition("::")
        if space in ("_c10d_functional", "c10d") and "wait" not in name:
            known = str(_KINDS.get(name, name))
            self.calls[known] += 1
            self.sizes[known] += max(_bytes(args[0]), _bytes(result) if known == "all-gather" else 0)
        return result


_KINDS = {
    "_allgather_base_": "all-gather",
    "all_gather_into_tensor": "all-gather",
    "all_gather_into_tensor_out": "all-gather",
    "all_to_all_single": "all-to-all",
    "all_reduce": "all-reduce",
    "allreduce_": "all-reduce",
    "reduce_scatter_tensor": "reduce-scatter",
    "_reduce_scatter_base_": "reduce-scatter",
}


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, list | tuple):
        many: Any = value
        return sum(map(_bytes, many))
    return 0


_WHERE = torch.ops.prim.device.default


class Live(TorchDispatchMode):
    """Follows storages from the first sight of them to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self._peak = 0
        self.peaks: dict[str, int] = {}
        """By the phase that ended with `mark`."""
        self._sizes: dict[int, int] = {}

    def mark(self, phase: str) -> None:
        self.peaks[phase] = max(self.peaks.get(phase, 0), self._peak)
        self._peak = self.now

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = 0
        self._resize(key, storage.nbytes())
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)

    def _resize(self, key: int, size: int) -> None:
        if key in self._sizes:
            self.now += size - self._sizes[key]
            self._sizes[key] = size
            self._peak = max(self._peak, self.now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # More than half of all calls only ask where a tensor is: they need not go through the modes below.
        if func is _WHERE and isinstance(args[0], FakeTensor):
            return args[0].fake_device
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, list | tuple) else (result,):
            if isinstance(value, Tensor) and not isinstance(value, DTensor):
                self.add(value)
        return result

    @contextmanager
    def following_fsdp(self) -> Generator[None]:
        """FSDP2 gathers and frees by resizing a storage, which no operation tells of."""
        kept = {name: getattr(fsdp_param, name) for name in ("alloc_storage", "free_storage")}
        for name, function in kept.items():
            setattr(fsdp_param, name, self._following(function))
        try:
            yield
        finally:
            for name, function in kept.items():
                setattr(fsdp_param, name, function)

    def _following(self, function: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
        def follow(tensor: Tensor) -> None:
            function(tensor)
            storage = tensor.untyped_storage()
            self._resize(storage._cdata, storage.nbytes())

        return follow
