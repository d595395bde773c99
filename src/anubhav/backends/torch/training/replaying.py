"""Routing replay: data that say which experts their tokens went to when they were sampled.

Axes: T tokens, L mixtures, K experts of a token.
"""

from collections.abc import Sequence

import torch

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.models.packing import Item, Pack
from anubhav.backends.torch.models.routing import Routing
from anubhav.errors import BadInput
from anubhav.types.training import ROUTES, Datum


def check_routes(config: ModelConfig, data: Sequence[Datum]) -> None:
    """Raises BadInput for choices that are not of this model."""
    for number, datum in enumerate(data):
        routes = datum.inputs.get(ROUTES)
        if routes is None:
            continue
        if config.mixture is None:
            raise BadInput(f"Datum {number} has {ROUTES}, and this model has no experts", hint="Leave them out.")
        shape = (len(datum.tokens), len(config.mixture.layers), config.mixture.each)
        values = [] if routes.dtype == "float32" else routes.tolist()
        if routes.shape != shape or not values or min(values) < -1 or max(values) >= config.mixture.experts:
            raise BadInput(
                f"Datum {number} needs {ROUTES} of shape {shape}, of numbers of experts below {config.mixture.experts}",
                hint="Send what the sampler told, one row for each token of the datum.",
            )


def marked(data: Sequence[Datum]) -> list[tuple[Item, ...]]:
    """The sequences of some data, as they may share a prefix: what went to other experts is not the same."""
    if not any(ROUTES in datum.inputs for datum in data):
        return [datum.tokens for datum in data]
    found: list[tuple[Item, ...]] = []
    for datum in data:
        routes = datum.inputs.get(ROUTES)
        width = len(routes.data) // len(datum.tokens) if routes else 0
        marks = [routes.data[start : start + width] for start in range(0, len(routes.data), width)] if routes else []
        found.append(tuple(zip(datum.tokens, marks or [b""] * len(datum.tokens), strict=True)))
    return found


def repeat(one: Pack, data: Sequence[Datum], config: ModelConfig, device: torch.device) -> Routing:
    """What the data of a pack say of their experts. Only for what was checked."""
    if config.mixture is None or not any(ROUTES in data[number].inputs for number in one.rows):
        return Routing()
    given_TLK = torch.full((len(one.tokens), len(config.mixture.layers), config.mixture.each), -1)
    for number, rows in one.rows.items():
        if routes := data[number].inputs.get(ROUTES):
            given_TLK[list(rows)] = torch.tensor(routes.tolist()).reshape(routes.shape)
    return Routing(given_TLK.to(device))
