"""Our attention inside transformers' modules: what they call by the name "anubhav" is whatever a pass brought along.

A pass is known by a context variable, so that engines in several threads, and a decoding step within a break of a
training pass, each have their own. Axes: T tokens, H query heads, G key-value heads, D head dimension.
"""

import functools
import importlib
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import Segment, linear
from anubhav.backends.torch.models.decoder import Attend
from anubhav.backends.torch.models.pausing import Pause, take_break
from anubhav.errors import MissingPart

NAME = "anubhav"


@dataclass(frozen=True, slots=True)
class Call:
    """A layer's call of its attention, in transformers' layout: (1, heads, T, D)."""

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Any
    scaling: float | None
    rest: Mapping[str, Any]


class Visitor(Protocol):
    """Who asked for the forward pass that is under way."""

    def attend(self, call: Call) -> Tensor:
        """(1, T, H, D)."""
        ...

    def mask(self, allows: Any) -> Any:
        """What is handed to `attend` as the mask; `allows(batch, head, query, key)` says what transformers means."""
        ...


_VISITOR: ContextVar[Visitor] = ContextVar("visitor")


@functools.cache
def load_transformers() -> Any:
    """The library, with our attention in it. Raises MissingPart where it is not installed."""
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as problem:
        raise MissingPart(
            "This model is not of our own families, and transformers, which computes others, is not installed",
            hint="Type: pip install 'anubhav[transformers]'",
        ) from problem
    transformers.AttentionInterface.register(NAME, _attend)
    transformers.AttentionMaskInterface.register(NAME, _mask)
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any = None,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    return _VISITOR.get().attend(Call(module, query, key, value, attention_mask, scaling, rest)), None


def _mask(*, mask_function: Any, **_: Any) -> Any:
    return _VISITOR.get().mask(mask_function)


@contextmanager
def visiting(visitor: Visitor) -> Generator[None]:
    token = _VISITOR.set(visitor)
    try:
        yield
    finally:
        _VISITOR.reset(token)


@dataclass(frozen=True, slots=True)
class Visit:
    """A pass of ours: the visitor that computes."""

    layers: Mapping[nn.Module, int]
    """The layer of each module that attends."""
    segments: Sequence[Segment]
    attention: Attend
    pause: Pause | None

    def attend(self, call: Call) -> Tensor:
        q_THD, k_TGD, v_TGD = (x[0].transpose(0, 1) for x in (call.query, call.key, call.value))
        width = q_THD.shape[-1]
        if call.scaling is not None and not math.isclose(call.scaling, width**-0.5):
            q_THD = q_THD * (call.scaling * math.sqrt(width))  # ours is always 1/√D
        # Rotary positions may be computed in float32, whatever the rest is in.
        q_THD, k_TGD = (x.to(v_TGD.dtype).contiguous() for x in (q_THD, k_TGD))
        return self.attention(self.layers[call.module], q_THD, k_TGD, v_TGD.contiguous())[None]

    def mask(self, allows: Any) -> Any:
        return self  # what our attention sees is settled


class Adaptable(nn.Module):
    """A frozen linear layer at a site of adapters, in the place of a linear layer of transformers."""

    def __init__(self, base: FrozenLinear, site: tuple[int, str]) -> None:
        super().__init__()
        self._base, self._site = base, site

    def forward(self, x: Tensor) -> Tensor:
        visit = _VISITOR.get()
        assert isinstance(visit, Visit)
        y_TO = linear(x.reshape(-1, self._base.inputs), self._base, self._site, visit.segments)
        return y_TO.view(*x.shape[:-1], self._base.outputs)


def break_before(layer: nn.Module) -> None:
    """Let each pass take its break before this layer, forward and backward."""

    def rest(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        visit = _VISITOR.get(None)
        pause = visit.pause if isinstance(visit, Visit) else None
        if args and isinstance(args[0], torch.Tensor):
            return (take_break(args[0], pause), *args[1:]), named
        return args, {**named, "hidden_states": take_break(named["hidden_states"], pause)}

    layer.register_forward_pre_hook(rest, with_kwargs=True)
