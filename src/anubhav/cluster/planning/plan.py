"""A plan, from the question to the answer: census, arithmetic for every layout, and the best one instantiated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter, ExpertLayout, adapter_parameters
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.hardware import GB, HARDWARE, Hardware
from anubhav.cluster.planning.layout import fault, stages
from anubhav.cluster.planning.memory import Comparison, Load, RankBytes, compare
from anubhav.cluster.planning.models import find_config
from anubhav.cluster.planning.probe.figures import Measured, Traced
from anubhav.cluster.planning.probe.process import Probe, open_probe
from anubhav.cluster.planning.search import Found, Option, more_cards, nearest, search, shorter, weigh
from anubhav.errors import BadInput

_SHOWN = 5
"""Options that a plan keeps, the best among them."""
_TRACES = 3
"""Options that are traced before the plan says that arithmetic had promised too much."""


@dataclass(frozen=True, slots=True)
class Question:
    model: str
    """A name of `models`, or a folder with a config.json."""
    gpus: int = 8
    adapter: Adapter = field(default_factory=Adapter)
    load: Load = field(default_factory=Load)
    hardware: Hardware = HARDWARE["h100"]
    layout: Layout | None = None
    """The one to plan; None: the best."""


@dataclass(frozen=True, slots=True)
class Instantiated:
    """What the real architecture, sharded, has on the first rank of each stage; and, traced, in a micro-batch."""

    stages: tuple[Measured, ...]
    traced: Traced | None
    """None with pipeline or sequence parallelism, which transformers does not compute."""


@dataclass(frozen=True, slots=True)
class Plan:
    question: Question
    family: str
    parameters: int
    router_biases: int
    active: int
    latent: bool
    """Attention by latents."""
    stages: tuple[range, ...]
    """The layers of each pipeline stage of the best layout."""
    adapters: Mapping[str, int]
    """Parameters of the adapter in each layout of experts; where there are none, they are all the same."""
    best: Option
    others: tuple[Option, ...]
    fitting: int
    tried: int
    instantiated: Instantiated
    comparison: Comparison

    @property
    def total(self) -> int:
        """Bytes of the fullest rank: instantiated where they could be, arithmetic for the rest."""
        return _total(self.best, self.instantiated)


def plan(question: Question) -> Plan:
    """Raises BadInput with the nearest plan that works where there is none."""
    _check(question)
    config = find_config(question.model)
    with open_probe() as probe:
        return _plan(question, config, probe)


def _plan(question: Question, config: Mapping[str, Any], probe: Probe) -> Plan:
    census = probe.census(config)
    question.adapter.expert_rank(census)
    found = search(census, question.adapter, question.gpus, question.load, question.hardware)
    options = found.fitting if question.layout is None else (_chosen(census, question, found),)
    if not options:
        raise _unfit(census, question, found)
    best, instantiated = _instantiate(census, question, config, probe, options)
    counts = {one: _adapted(census, question.adapter, one) for one in get_args(ExpertLayout)}
    return Plan(
        question=question,
        family=census.family,
        parameters=census.parameters,
        router_biases=census.router_biases,
        active=census.active,
        latent=census.heads.latent,
        stages=stages(census, best.layout),
        adapters={one: count for one, count in counts.items() if count is not None},
        best=best,
        others=tuple(one for one in found.fitting if one != best)[: _SHOWN - 1],
        fitting=len(found.fitting),
        tried=found.tried,
        instantiated=instantiated,
        comparison=compare(census.parameters, adapter_parameters(census, question.adapter), question.hardware.room),
    )


def _instantiate(
    census: Census, question: Question, config: Mapping[str, Any], probe: Probe, options: tuple[Option, ...]
) -> tuple[Option, Instantiated]:
    """The first option that fits by its trace as well; a layout that pipelines or splits sequences is not traced."""
    for option in options[:_TRACES]:
        layout = option.layout
        traced = None
        if layout.pp == layout.sp == 1:
            traced = probe.trace(config, census, question.adapter, layout, question.load.sequence)
        stages = probe.measure(config, census, question.adapter, layout)
        instantiated = Instantiated(stages, traced)
        if _total(option, instantiated) <= question.hardware.room:
            return option, instantiated
    raise _unfit(census, question, Found((), len(options), options[0]))


def _total(option: Option, instantiated: Instantiated) -> int:
    totals: list[int] = []
    for counted, measured in zip(option.stages, instantiated.stages, strict=True):
        fixed = measured.weights + measured.adapters + measured.optimizer + measured.gradients
        peak = instantiated.traced.peak if instantiated.traced else counted.gathered + counted.activations
        totals.append(fixed + peak + counted.cache)
    return max(totals)


def _adapted(census: Census, adapter: Adapter, experts: ExpertLayout) -> int | None:
    try:
        return adapter_parameters(census, Adapter(adapter.rank, experts, adapter.targets))
    except BadInput:
        return None


def _check(question: Question) -> None:
    load = question.load
    named = {
        "gpus": question.gpus,
        "rank": question.adapter.rank,
        "sequence": load.sequence,
        "batch": load.batch,
        "gpu-memory": question.hardware.memory,
    }
    for name, value in named.items():
        if value < 1:
            raise BadInput(f"--{name} is {value}", hint="It is 1 or more.")
    if load.cached < 0:
        raise BadInput(f"--cached-sequences is {load.cached}", hint="It is 0 or more.")
    if question.gpus > question.hardware.node and question.gpus % question.hardware.node:
        below = question.gpus - question.gpus % question.hardware.node
        raise BadInput(
            f"{question.gpus} GPUs are no whole nodes of {question.hardware.node}",
            hint=f"Plan --gpus {below} or {below + question.hardware.node}, or say how large a node is with --node.",
        )


def _chosen(census: Census, question: Question, found: Found) -> Option:
    """The layout that was asked for; BadInput where it cannot be, with the nearest that can."""
    layout = question.layout
    assert layout is not None
    near = nearest(layout, found.fitting)
    hint = f"The nearest that fits is --layout {near.layout}." if near else _advice(census, question)
    if layout.ranks != question.gpus:
        raise BadInput(
            f"{layout} makes {layout.ranks} ranks (tp × pp × fsdp), and --gpus is {question.gpus}", hint=hint
        )
    if (why := fault(census, layout)) is not None:
        raise BadInput(f"{question.model} cannot be laid out as {layout}: {why}", hint=hint)
    option = weigh(census, question.adapter, layout, question.load, question.hardware)
    if option.fullest.total > question.hardware.room:
        raise BadInput(_needs(question, option), hint=hint)
    return option


def _unfit(census: Census, question: Question, found: Found) -> BadInput:
    if found.closest is None:
        said = f"No layout of {question.gpus} GPUs divides {question.model}"
    else:
        said = f"{question.model} does not fit on {question.gpus} GPUs: {_needs(question, found.closest)}"
    return BadInput(said, hint=_advice(census, question))


def _needs(question: Question, option: Option) -> str:
    fullest = option.fullest
    parts = sorted(_parts(fullest).items(), key=lambda part: -part[1])[:2]
    most = " and ".join(f"{size / GB:.1f} GB of {name}" for name, size in parts)
    room, memory = question.hardware.room / GB, question.hardware.memory / GB
    return (
        f"{option.layout} needs {fullest.total / GB:.1f} GB on its fullest rank ({most}), "
        f"where {room:.1f} of {memory:.0f} GB may be filled"
    )


def _parts(fullest: RankBytes) -> dict[str, int]:
    return {
        "weights": fullest.weights,
        "adapters and their training state": fullest.adapters + fullest.optimizer + fullest.gradients,
        "activations and gathered weights": fullest.activations + fullest.gathered,
        "cache": fullest.cache,
    }


def _advice(census: Census, question: Question) -> str:
    """The nearest plans that work: more cards as it is, or a shorter sequence on the same cards."""
    arguments = (census, question.adapter, question.gpus, question.load, question.hardware)
    found: list[str] = []
    if (more := more_cards(*arguments)) is not None:
        found.append(f"--gpus {more.layout.ranks} ({more.layout})")
    if (length := shorter(*arguments)) is not None:
        found.append(f"--sequence {length}")
    if not found:
        return "Nothing near fits: take cards with more memory, or a smaller --rank."
    return f"The nearest plan that works: {', or '.join(found)}."
