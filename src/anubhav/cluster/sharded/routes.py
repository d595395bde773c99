"""Which experts tokens go to, layer by layer: repeated where a sampler told, counted, and compared.

Layers are known by their number in the whole model, here and in what a datum brings: a row for every mixture, as our
own samplers tell it, or one for every layer, as vLLM does. A map that is off by a layer sends every token to strangers
without a word; then the experts given are hardly ever those the trainer would choose itself, and the pass is refused.
Axes: T tokens, L mixtures, K experts of a token, X experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from anubhav.backends.torch.layers.config import MixtureShape, ModelConfig
from anubhav.errors import BadInput
from anubhav.types.arrays import Array
from anubhav.types.training import ROUTES, Datum

_SHIFTS = (0, -1, 1)


def of_mixtures(config: ModelConfig, data: Sequence[Datum]) -> tuple[Datum, ...]:
    """The data, with routes of the mixtures alone where they had a row for every layer of the model."""
    return tuple(_of_mixtures(config, datum) for datum in data)


def _of_mixtures(config: ModelConfig, datum: Datum) -> Datum:
    routes = datum.inputs.get(ROUTES)
    if routes is None or config.mixture is None or len(routes.shape) != 3 or routes.dtype == "float32":
        return datum
    count, layers, each = routes.shape
    if layers != config.layers or layers == len(config.mixture.layers):
        return datum
    width = len(routes.data) // (count * layers)
    rows = [
        routes.data[(token * layers + layer) * width : (token * layers + layer + 1) * width]
        for token in range(count)
        for layer in config.mixture.layers
    ]
    cut = Array(routes.dtype, (count, len(config.mixture.layers), each), b"".join(rows))
    return replace(datum, inputs={**datum.inputs, ROUTES: cut})


@dataclass(slots=True)
class Route:
    """What one micro-batch says of its tokens on this rank."""

    given_TLK: Tensor | None
    """-1 where a token is to choose anew; None where no datum says anything."""
    real_T: Tensor
    """Which tokens are no padding."""


@dataclass(slots=True)
class Tally:
    """What a pass's tokens on this rank did at the mixtures."""

    counts_LX: Tensor
    agreed: Tensor
    """Of given experts, how many the trainer would have chosen itself; also of those given one layer off."""
    asked: Tensor

    @staticmethod
    def of(config: ModelConfig, device: torch.device) -> "Tally":
        shape = (len(config.mixture.layers), config.mixture.experts) if config.mixture else (0, 0)
        zeros = torch.zeros(len(_SHIFTS), dtype=torch.float64, device=device)
        return Tally(torch.zeros(shape, dtype=torch.float64, device=device), zeros, zeros.clone())

    def add(self, route: Route, mixture: int, own_TK: Tensor, used_TK: Tensor) -> None:
        self.counts_LX[mixture] += torch.bincount(
            used_TK[route.real_T].flatten(), minlength=self.counts_LX.shape[1]
        ).to(self.counts_LX)
        if route.given_TLK is None:
            return
        for number, shift in enumerate(_SHIFTS):
            if 0 <= mixture + shift < route.given_TLK.shape[1]:
                given_TK = route.given_TLK[:, mixture + shift]
                told_T = (given_TK >= 0).all(-1)
                same = (own_TK[told_T][:, :, None] == given_TK[told_T][:, None, :]).any(-1)
                self.agreed[number] += same.sum()
                self.asked[number] += same.numel()


@dataclass(slots=True)
class Replaying:
    """The hook of one mixture's router."""

    shape: MixtureShape
    mixture: int
    """Its number among the mixtures of the whole model."""
    route: Route | None = None
    tally: Tally | None = None

    def settle(self, logits_TX: Tensor, weights_TK: Tensor, own_TK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The router's answer with the given experts in the place of its own, weighed by its own scores."""
        if self.route is None:
            return logits_TX, weights_TK, own_TK
        used_TK = own_TK
        if self.route.given_TLK is not None:
            given_TK = self.route.given_TLK[:, self.mixture]
            used_TK = torch.where((given_TK < 0).any(-1, keepdim=True), own_TK, given_TK)
            weights_TK = _weigh(self.shape, logits_TX, used_TK).to(weights_TK.dtype)
        if self.tally:
            self.tally.add(self.route, self.mixture, own_TK, used_TK)
        return logits_TX, weights_TK, used_TK


def _weigh(shape: MixtureShape, logits_TX: Tensor, chosen_TK: Tensor) -> Tensor:
    """As transformers' routers weigh the experts they chose."""
    scores_TX = logits_TX.float().sigmoid() if shape.sigmoid else logits_TX.float().softmax(-1)
    weights_TK = scores_TX.gather(-1, chosen_TK)
    if shape.normed:
        weights_TK = weights_TK / (weights_TK.sum(-1, keepdim=True) + (1e-20 if shape.sigmoid else 0.0))
    return weights_TK * shape.scale


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the experts given were the trainer's own choice, over all ranks."""

    agreed: Sequence[float] = field(default=(0.0,) * len(_SHIFTS))
    asked: Sequence[float] = field(default=(0.0,) * len(_SHIFTS))

    def share(self, number: int = 0) -> float:
        return self.agreed[number] / self.asked[number] if self.asked[number] else 1.0

    def check(self, shape: MixtureShape) -> None:
        """Raises BadInput when they agree no better than half-way between chance and always."""
        chance = shape.each / shape.experts
        if self.share() >= (1 + chance) / 2:
            return
        shares = [self.share(number) if self.asked[number] else 0.0 for number in range(len(_SHIFTS))]
        best = _SHIFTS[shares.index(max(shares))]
        off = f"; those given for the mixture {'before' if best < 0 else 'after'} it fit better" if best else ""
        raise BadInput(
            f"The {ROUTES} are not those of these layers: the model itself would choose {self.share():.0%} of them, "
            f"and by chance {chance:.0%}{off}",
            hint="Number them by layer of the whole model, or one row for each mixture in order; and send those of "
            "this model.",
        )
