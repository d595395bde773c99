"""Adapters on a base that is already sharded: hooks that add what the adapter in use makes of a layer's input.

The base's own modules stay as they are, so that any number of adapters stand on one base and each pass names its own.
What a rank holds of an adapter are plain tensors that neither FSDP nor DTensor knows. Axes: T tokens, P (token, expert)
pairs sorted by expert, I inputs, O outputs, R rank, X experts.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers.integrations.moe as moe
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from anubhav.cluster.sharded.base import Base
from anubhav.cluster.sharded.collectives import Process, sum_backward, sum_forward
from anubhav.cluster.sharded.pieces import Piece, Style
from anubhav.cluster.sharded.places import Key, Place
from anubhav.cluster.sharded.routes import Replaying, Route, Tally
from anubhav.types.training import LoraSpec

NAME = "anubhav_adapted"
_ALIGNED = 8
"""Grouped products want rows of whole 16 bytes."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What this rank has of the two factors at a place."""

    place: Place
    pieces: tuple[Piece, Piece]
    a: Tensor
    b: Tensor
    scale: float


@dataclass(frozen=True, slots=True)
class Held:
    """What this rank has of an adapter."""

    spec: LoraSpec
    pairs: Mapping[Key, Pair]

    def parameters(self) -> list[Tensor]:
        """A then B of every place, in a fixed order."""
        return [factor for pair in self.pairs.values() for factor in (pair.a, pair.b)]

    def pieces(self) -> list[Piece]:
        """In the order of the parameters."""
        return [piece for pair in self.pairs.values() for piece in pair.pieces]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a micro-batch brings to the layers besides its tokens."""

    held: Held | None
    route: Route | None
    tally: Tally | None


class Adapting:
    """The hooks of one base, and which adapter they use."""

    def __init__(self, base: Base) -> None:
        self._replaying: list[Replaying] = []
        self._held: Held | None = None
        self._base = base
        self._linears = {module: name for name, module in base.net.named_modules() if isinstance(module, nn.Linear)}
        for module, name in self._linears.items():
            module.register_forward_hook(self._hook(self._key(name), self.style(name)))
        mixture = base.config.mixture
        for number, layer in enumerate(mixture.layers if mixture else ()):
            if mixture and layer in base.layers:
                block = base.net.get_submodule(base.config.module_name(layer, "mlp"))
                block.experts.anubhav = _Experts(self, layer)
                replaying = Replaying(mixture, number)
                block.gate.register_forward_hook(lambda _, __, out, replaying=replaying: replaying.settle(*out))
                self._replaying.append(replaying)
        if mixture:
            moe.ALL_EXPERTS_FUNCTIONS.register(NAME, _experts_forward)
            base.net.config._experts_implementation = NAME

    @contextmanager
    def using(self, held: Held | None) -> Generator[None]:
        before, self._held = self._held, held
        try:
            yield
        finally:
            self._held = before

    def follow(self, route: Route | None, tally: Tally | None) -> None:
        """Which experts the tokens of the next micro-batch go to, and where that is counted."""
        for replaying in self._replaying:
            replaying.route, replaying.tally = route, tally

    def scene(self) -> Scene:
        """What the layers see now."""
        first = self._replaying[0] if self._replaying else None
        return Scene(self._held, first.route if first else None, first.tally if first else None)

    @contextmanager
    def back_in(self, scene: Scene, *, counts: bool) -> Generator[None]:
        """Let them see that again."""
        now = self.scene()
        self.follow(scene.route, scene.tally if counts else None)
        try:
            with self.using(scene.held):
                yield
        finally:
            self.follow(now.route, now.tally)

    def pair(self, key: Key) -> Pair | None:
        return self._held.pairs.get(key) if self._held else None

    def style(self, name: str) -> Style:
        found = self._base.styles.get(name)
        return found if found in ("colwise", "rowwise") else None  # pyright: ignore[reportReturnType]

    def style_at(self, place: Place) -> Style:
        return None if place.copies else self.style(self._base.config.module_name(*place.key))

    def here(self, place: Place) -> bool:
        """Whether the place is in this rank's stage of the pipeline."""
        layer = place.key[0]
        return self._base.last if layer == self._base.config.layers else layer in self._base.layers

    def _key(self, name: str) -> Key:
        config = self._base.config
        if name == config.head_name:
            return config.layers, name
        layer, _, module = name.removeprefix(f"{config.layers_name}.").partition(".")
        return int(layer), module

    def _hook(self, key: Key, style: Style) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor | None]:
        group = self._base.groups.tp

        def add(_: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor | None:
            pair = self.pair(key)
            return None if pair is None else out + _through(pair, args[0], style, group)

        return add


def _through(pair: Pair, x: Tensor, style: Style, group: Process | None) -> Tensor:
    """What the adapter makes of x, as far as this rank has it: whole, or its slice of the outputs."""
    inner = linear(x, pair.a.to(x.dtype))
    if group and style == "rowwise":
        inner = sum_forward(inner, group)
    elif group and style == "colwise":
        inner = sum_backward(inner, group)
    return linear(inner * pair.scale, pair.b.to(x.dtype))


@dataclass(frozen=True, slots=True)
class _Experts:
    adapting: Adapting
    layer: int

    def add(self, group: str, x_PI: Tensor, ends_X: Tensor, y_PO: Tensor) -> Tensor:
        pair = self.adapting.pair((self.layer, group))
        if pair is None:
            return y_PO
        a_XRI, b_XOR = (factor.to(x_PI.dtype) for factor in (pair.a, pair.b))
        lack = -a_XRI.shape[1] % _ALIGNED
        if lack:
            a_XRI, b_XOR = pad(a_XRI, (0, 0, 0, lack)), pad(b_XOR, (0, lack))
        inner_PR = _grouped(x_PI, a_XRI, ends_X)
        return y_PO + _grouped(inner_PR * pair.scale, b_XOR, ends_X)


def _experts_forward(experts: Any, hidden_TE: Tensor, index_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """What transformers calls for the experts of a layer, by NAME: theirs plus ours, one grouped product each."""
    each = index_TK.shape[-1]
    experts_P, order_P = index_TK.flatten().sort()
    x_PE = hidden_TE[order_P // each]
    ends_X = torch.bincount(experts_P, minlength=experts.num_experts).cumsum(0).to(torch.int32)
    ours: _Experts = experts.anubhav
    gate_up_PO = _grouped(x_PE, experts.gate_up_proj, ends_X)
    gate_PO, up_PO = gate_up_PO.chunk(2, -1)
    gate_PO = ours.add("experts_gate", x_PE, ends_X, gate_PO)
    up_PO = ours.add("experts_up", x_PE, ends_X, up_PO)
    inner_PO = experts._apply_gate(torch.cat([gate_PO, up_PO], -1))
    out_PE = _grouped(inner_PO, experts.down_proj, ends_X)
    out_PE = ours.add("experts_down", inner_PO, ends_X, out_PE)
    out_PE = out_PE * weights_TK.flatten()[order_P][:, None].to(out_PE.dtype)
    back_P = torch.empty_like(order_P)
    back_P[order_P] = torch.arange(len(order_P), device=order_P.device)
    return out_PE[back_P].view(len(hidden_TE), each, -1).sum(1).to(hidden_TE.dtype)


def _grouped(x_PI: Tensor, weights_XOI: Tensor, ends_X: Tensor) -> Tensor:
    """Each row through its expert's matrix, or all through the one they share."""
    if len(weights_XOI) == 1 and len(ends_X) > 1:
        return linear(x_PI, weights_XOI[0])
    return moe._grouped_linear(x_PI, weights_XOI, ends_X)
