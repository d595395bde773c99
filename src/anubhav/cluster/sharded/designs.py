"""What `--layout` says: axes, such as tp=2,fsdp=2, or the cluster.json of a plan (`anubhav plan --write`)."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.models.families import read_config
from anubhav.backends.torch.precision import chosen
from anubhav.cluster.layout import AXES, Layout, parse_layout
from anubhav.cluster.planning.writing import FORMAT, sizes_of
from anubhav.cluster.sharded.layout import check, check_room
from anubhav.cluster.sharded.places import KINDS, Kind
from anubhav.cluster.sharded.worker import Plan
from anubhav.errors import BadInput

_AGAIN = "Make it with `anubhav plan --write FOLDER`, and name FOLDER/cluster.json."


@dataclass(frozen=True, slots=True)
class Design:
    """How the trainer of each model is to be, on whatever machine."""

    layout: Layout
    kind: Kind = "per_expert"
    budget: int = 2048
    """Tokens of a micro-batch."""
    recompute: bool = False
    bundles: tuple[int, ...] | None = None
    """Ranks that are together on a node, each bundle on another one; None: wherever there is room."""
    sizes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the model that it was planned for; empty: for any."""


def read_design(text: str) -> Design:
    """Raises BadInput for what is neither."""
    return _read_plan(Path(text).expanduser()) if text.endswith(".json") else Design(parse_layout(text))


def check_model(design: Design, folder: Path) -> ModelConfig:
    """Raises BadInput when it is for another model, or does not fit this one."""
    found = sizes_of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    for name, planned in design.sizes.items():
        if found.get(name, planned) != planned:
            raise BadInput(
                f"The plan is for another model: its {name} is {planned}, and that of {folder.name} is {found[name]}",
                hint=f"Plan this one: anubhav plan --model {folder} --write FOLDER",
            )
    config = read_config(folder)
    check(design.layout, config)
    return config


def check_machine(design: Design, folder: Path) -> tuple[str, int]:
    """The kind of device that its ranks would have here, and how many there are.

    Raises BadInput when they are fewer than the ranks, with the nearest layout that has room.
    """
    config, cards = check_model(design, folder), torch.cuda.device_count()
    room, what = (cards, "cards") if cards else (os.cpu_count() or 1, "processors")
    check_room(design.layout, config, room, f"this machine has {room} {what}")
    return ("cuda" if cards else "cpu"), room


def plan_for(design: Design, folder: Path, dtype: str | None, *, device: str, threads: int) -> Plan:
    """The design for a model that it fits and one kind of machine."""
    return Plan(
        folder,
        design.layout,
        design.kind,
        device,
        str(chosen(dtype, torch.device(device))).removeprefix("torch."),
        design.budget,
        threads=threads,
        recompute=design.recompute,
    )


def _read_plan(file: Path) -> Design:
    try:
        raw: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BadInput(f"The plan {file} cannot be read ({problem.strerror})", hint=_AGAIN) from problem
    except ValueError as problem:
        raise BadInput(f"The plan {file} is no JSON", hint=_AGAIN) from problem
    if not isinstance(raw, dict) or cast(dict[str, Any], raw).get("format") != FORMAT:
        raise BadInput(f"{file} is no cluster.json of this version's plans", hint=_AGAIN)
    try:
        return _designed(cast(dict[str, Any], raw))
    except (KeyError, TypeError, ValueError) as problem:
        raise BadInput(f"The plan {file} does not say what it has to ({problem!r})", hint=_AGAIN) from problem


def _designed(raw: Mapping[str, Any]) -> Design:
    trainer = raw["trainer"]
    layout = parse_layout(",".join(f"{axis}={trainer['layout'][axis]}" for axis in AXES))
    kind = trainer["adapter"]["experts"]
    bundles = tuple(len(ranks) for ranks in trainer["placement"]["ranks"])
    if kind not in KINDS:
        raise ValueError(kind)
    if sum(bundles) != layout.ranks:
        raise ValueError(f"{sum(bundles)} places for {layout.ranks} ranks")
    return Design(
        layout, kind, int(trainer["sequence"]), bool(trainer["recompute"]), bundles, dict(raw["architecture"])
    )
