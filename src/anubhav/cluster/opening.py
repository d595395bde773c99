"""Which engines fill the ports of a server: in its process, with a gang of ranks beside it, or in a Ray cluster."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anubhav.backends.opening import Engine, open_engine
from anubhav.errors import MissingPart

if TYPE_CHECKING:
    from anubhav.cluster.remote.connection import Node
    from anubhav.cluster.remote.engine import RemoteEngine
    from anubhav.cluster.remote.nodes import Nodes
    from anubhav.cluster.sharded.designs import Design


@dataclass(frozen=True, slots=True)
class Choices:
    """What a server's models are opened with."""

    dtype: str | None
    sampler: Literal["own", "vllm"]
    layout: str | None
    """Of a sharded trainer: axes or a plan's file. None: one process trains."""
    cluster: str | None
    samplers: int
    data_dir: Path


async def open_engines(
    choices: Choices, folders: Sequence[Path], stack: AsyncExitStack
) -> AsyncGenerator[tuple[Path, Engine]]:
    """An engine for each folder, closed with the stack."""
    design = await asyncio.to_thread(_design, choices.layout) if choices.layout else None
    opened = _there(choices, folders, design, stack) if choices.cluster else _here(choices, folders, design, stack)
    async for found in opened:
        yield found


async def _here(
    choices: Choices, folders: Sequence[Path], design: "Design | None", stack: AsyncExitStack
) -> AsyncGenerator[tuple[Path, Engine]]:
    for folder in folders:
        engine = await asyncio.to_thread(_open, choices, folder, design)
        stack.callback(engine.close)
        yield folder, engine


async def _there(
    choices: Choices, folders: Sequence[Path], design: "Design | None", stack: AsyncExitStack
) -> AsyncGenerator[tuple[Path, Engine]]:
    """On hosts of their own."""
    from anubhav.cluster.remote.connection import disconnect

    try:
        nodes = await asyncio.to_thread(_connect, choices, folders, design)
    except ModuleNotFoundError as missing:
        raise MissingPart("A cluster needs Ray", hint="pip install 'anubhav[ray]'") from missing
    stack.callback(disconnect)
    from anubhav.cluster.remote.nodes import Nodes

    ground = Nodes()
    for folder in folders:
        engine = await asyncio.to_thread(_remote, choices, folder, len(folders), nodes, design, ground)
        stack.callback(engine.close)
        await engine.open()
        yield folder, engine


def _connect(choices: Choices, folders: Sequence[Path], design: "Design | None") -> "list[Node]":
    from anubhav.cluster.remote.connection import LOCAL, connect

    if design and choices.cluster == LOCAL:
        from anubhav.cluster.sharded.designs import check_machine

        for folder in folders:
            check_machine(design, folder)
    hosts = len(folders) * (choices.samplers + (design.layout.ranks if design else 1))
    return connect(choices.cluster or "", choices.data_dir, hosts)


def _remote(
    choices: Choices,
    folder: Path,
    models: int,
    nodes: "Sequence[Node]",
    design: "Design | None",
    ground: "Nodes",
) -> "RemoteEngine":
    from anubhav.cluster.remote.connection import share
    from anubhav.cluster.remote.engine import RemoteEngine, Wanted

    if design is None:
        wanted = Wanted(choices.samplers, share(models, choices.samplers, nodes))
        return RemoteEngine(folder, choices.dtype, wanted, nodes=ground)
    from anubhav.cluster.remote.actors import far_trainer
    from anubhav.cluster.remote.placing import check_places, places_of
    from anubhav.cluster.sharded.designs import plan_for

    check_places(design, folder, nodes, models, choices.samplers)
    each = share(models, choices.samplers, nodes, design.layout.ranks, design.bundles or ())
    places = places_of(design, nodes, each)
    device = "cuda" if places.cards else "cpu"
    plan = plan_for(design, folder, choices.dtype, device=device, threads=each)
    wanted = Wanted(choices.samplers, each, ranks=places)
    return RemoteEngine(folder, choices.dtype, wanted, partial(far_trainer, plan, places, ground.selector), ground)


def _design(layout: str) -> "Design":
    try:
        from anubhav.cluster.sharded.designs import read_design
    except ModuleNotFoundError as missing:
        raise MissingPart(
            "A sharded trainer needs transformers", hint="pip install 'anubhav[transformers]'"
        ) from missing
    return read_design(layout)


def _open(choices: Choices, folder: Path, design: "Design | None") -> Engine:
    whole = partial(open_engine, folder, choices.dtype, choices.sampler)
    if design is None:
        return whole()
    from anubhav.cluster.sharded.engine import ShardedEngine

    return ShardedEngine(folder, choices.dtype, design, whole)
