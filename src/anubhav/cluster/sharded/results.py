"""One answer out of what the ranks have to tell of a pass."""

from collections.abc import Mapping, Sequence

import torch

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.models.routing import Loads
from anubhav.backends.torch.training.graphs import joined
from anubhav.backends.torch.training.mismatch import Mismatch
from anubhav.backends.torch.training.trainer import tensor
from anubhav.cluster.sharded.agreeing import Elsewhere
from anubhav.cluster.sharded.learning import Part
from anubhav.errors import AnubhavError
from anubhav.types.arrays import Array
from anubhav.types.losses import LOSSES, options_of
from anubhav.types.training import Pass, PassResult


def together(config: ModelConfig, work: Pass, answers: Sequence[Part | AnubhavError]) -> PassResult:
    failures = [answer for answer in answers if isinstance(answer, AnubhavError)]
    if failures:
        return PassResult(failure=next((one for one in failures if not isinstance(one, Elsewhere)), failures[0]))
    parts = [answer for answer in answers if isinstance(answer, Part)]
    logprobs: dict[int, Array] = {}
    told: dict[int, Mapping[str, float]] = {}
    for part in parts:
        logprobs |= part.logprobs
        told |= part.told
    metrics = {
        "loss:sum": sum(part.loss for part in parts),
        "tokens:sum": float(sum(len(datum.tokens) for datum in work.data)),
        "packed:sum": float(sum(part.packed for part in parts)),
        **_mismatch(work, logprobs),
        **_loads(config, parts),
        **_agreement(parts),
        **joined(told),
    }
    return PassResult(tuple(logprobs[number] for number in range(len(work.data))), metrics)


def _mismatch(work: Pass, logprobs: Mapping[int, Array]) -> dict[str, float]:
    found, options, names = Mismatch(), options_of(work.loss, work.config), LOSSES[work.loss].inputs
    if {"logprobs", "advantages"} <= set(names):
        for number, datum in enumerate(work.data):
            told_P = tensor(logprobs[number]).flatten()
            inputs = {name: tensor(datum.inputs[name]).flatten().float() for name in names}
            found.add(told_P, {**inputs, "datum": torch.zeros(len(told_P), dtype=torch.long)}, options)
    return found.metrics()


def _agreement(parts: Sequence[Part]) -> dict[str, float]:
    """The share of the given experts that the trainer would have chosen itself."""
    found = next((part.agreement for part in parts if part.agreement), None)
    return {"replay_agreement:mean": found.share()} if found else {}


def _loads(config: ModelConfig, parts: Sequence[Part]) -> dict[str, float]:
    loads = Loads(config, torch.device("cpu"))
    for part in parts:
        if part.counts:
            loads.counts_LX += torch.tensor(part.counts, dtype=torch.float64)
    return loads.metrics()
