"""The checks against a reference on this machine: is what the server computes what transformers, PEFT and autograd
compute from the same adapter? They need the base model's own files, and download what the server trained.
"""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from anubhav.cli.verify.checks import TIGHT, Check, Claim, apart
from anubhav.cli.verify.reference import LOSSES, Reference
from anubhav.cli.verify.runs import RATE, Run, datum, texts

if TYPE_CHECKING:
    from tinker import Datum, RestClient, ServiceClient

_STEPS = 3
_ADAM = 5e-3
"""Adam's first steps make whole steps of rounding where a gradient is nearly zero."""
_KEPT_SECONDS = 3600
_DRAWN_AT = -0.15
"""How far the data's log-probabilities lie from the model's: some ratios are clipped and some are not."""
_SHAPES: dict[str, tuple[int, dict[str, bool]]] = {
    "attention alone, rank 4": (4, {"train_mlp": False, "train_unembed": False}),
    "MLP alone, rank 16": (16, {"train_attn": False, "train_unembed": False}),
}


@dataclass(frozen=True, slots=True)
class _Sources:
    base: str
    """Where the reference finds the base model: a folder, or a name on a hub."""
    rest: "RestClient"


def parity_claims(base: str, rest: "RestClient") -> tuple[Claim, ...]:
    here = _Sources(base, rest)
    trained = {f"{_STEPS} steps of {loss} are autograd's": _steps(here, loss) for loss in LOSSES}
    trained |= {f"{name}: steps are autograd's": _steps(here, shape=shape) for name, shape in _SHAPES.items()}
    trained |= {"clipped and decayed steps are autograd's": _steps(here, clip=0.5, decay=0.1)}
    return (
        Claim("the base says what transformers says", TIGHT, partial(_base, here)),
        *(Claim(name, _ADAM, check) for name, check in trained.items()),
        Claim("the gradient's norm is autograd's", TIGHT, partial(_norm, here)),
        Claim("exported to PEFT it says the same", TIGHT, partial(_exported, here)),
    )


def _base(here: _Sources, service: "ServiceClient", model: str) -> float:
    return apart(Run.start(service, model).read(), Reference(here.base).read(texts(99)))


def _steps(
    here: _Sources,
    loss: str = "cross_entropy",
    shape: tuple[int, dict[str, bool]] = (8, {"train_unembed": False}),
    clip: float = 0.0,
    decay: float = 0.0,
) -> Check:
    """The server and the reference begin with the same adapter and see the same data."""

    def measure(service: "ServiceClient", model: str) -> float:
        rank, flags = shape
        run = Run.start(service, model, rank=rank, **flags)
        with _export(here, run, "begun") as folder:
            reference = Reference(here.base, folder, decay=decay)
        for seed in range(_STEPS):
            drawn = _drawn(run, seed)
            run.learn(_data(seed, loss, drawn), loss, {"beta": 0.05} if loss == "dro" else None)
            reference.learn(texts(seed), loss, drawn)
            run.step(RATE, clip, decay)
            reference.step(RATE, clip)
        return apart(run.read(), reference.read(texts(99)))

    return measure


def _norm(here: _Sources, service: "ServiceClient", model: str) -> float:
    """Relative; infinite where the server tells no `grad_norm`."""
    run = Run.start(service, model, train_unembed=False)
    with _export(here, run, "begun") as folder:
        reference = Reference(here.base, folder)
    run.learn(_data(1, "cross_entropy", []))
    reference.learn(texts(1), "cross_entropy", [list(text.weights) for text in texts(1)])
    told, wanted = run.step().get("grad_norm", float("inf")), reference.step(RATE)
    return abs(told - wanted) / wanted


def _exported(here: _Sources, service: "ServiceClient", model: str) -> float:
    run = Run.start(service, model)
    run.train(range(_STEPS))
    with _export(here, run, "trained") as folder:
        return apart(run.read(), Reference(here.base, folder).read(texts(99)))


def _drawn(run: Run, seed: int) -> list[list[float]]:
    """What the data were drawn with: the model's own log-probabilities, every second one moved."""
    rows = iter(run.read(seed))
    return [[next(rows) + _DRAWN_AT * (place % 2) for place in range(len(text.weights))] for text in texts(seed)]


def _data(seed: int, loss: str, drawn: list[list[float]]) -> "list[Datum]":
    if loss == "cross_entropy":
        return [datum(text) for text in texts(seed)]
    rows = zip(texts(seed), drawn, strict=True)
    return [datum(text, logprobs=row, advantages=text.weights) for text, row in rows]


@contextmanager
def _export(here: _Sources, run: Run, name: str) -> Generator[Path]:
    """The run's adapter as the server gives it out, in a folder that is there for a while."""
    path = run.client.save_weights_external(f"verify-{name}", ttl_seconds=_KEPT_SECONDS).result().path
    urls = here.rest.get_external_weights_urls(path).result().urls
    with tempfile.TemporaryDirectory(prefix="anubhav-verify-") as folder:
        for file, url in urls.items():
            if file in ("adapter_config.json", "adapter_model.safetensors"):
                (Path(folder) / file).write_bytes(httpx2.get(url, follow_redirects=True).raise_for_status().content)
        yield Path(folder)
