"""A crew of Ray actors, one for each rank, placed together or not at all. Ray repeats nothing and replaces nobody.

Who does not answer a ping is dead, whatever it computes: behind a cut network nothing else can be told.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, cast

import ray
from ray.exceptions import RayError
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

import anubhav
from anubhav.cluster.remote.parcels import pack, unpack
from anubhav.cluster.remote.placing import Places
from anubhav.cluster.remote.rank import PULSE, Rank
from anubhav.cluster.sharded.crew import Died
from anubhav.cluster.sharded.gang import Gang
from anubhav.cluster.sharded.trainer import ShardedTrainer
from anubhav.cluster.sharded.worker import Address, Plan
from anubhav.errors import AnubhavError, Unavailable

_BEAT, _SILENCE, _LOOK = 10.0, 30.0, 5.0
"""Seconds between pings of ranks at work; in which a living one answers, however busy; and for whoever only looks."""
_ROOM = 60.0
"""Seconds until the cluster has room; what a dead gang held is free after a few."""
_OPENING = 300.0
"""Seconds until the processes are there."""

log = logging.getLogger(__name__)


def far_trainer(plan: Plan, places: Places, selector: Callable[[], dict[str, str]] = dict) -> ShardedTrainer:
    """A trainer whose ranks are actors. Raises as ShardedTrainer does, and Unavailable when there is no room.

    `selector` gives the labels of the nodes that a gang may be on, whenever one is put up.
    """

    def start(plan: Plan, deadline: float) -> Gang:
        return FarGang(Actors(plan, places, selector()), plan, deadline=deadline)

    return ShardedTrainer(plan, start=start)


class FarGang(Gang):
    """Folders go to its ranks and come back as parcels, as its nodes need not share a disk."""

    def call(self, method: str, *args: Any, deadline: float, **named: Any) -> list[Any]:
        if method != "save":
            return super().call(method, *map(_sent, args), deadline=deadline, **named)
        adapter, to = args
        answers = super().call(method, adapter, deadline=deadline, **named)
        unpack(answers[0], to)
        return answers


def _sent(value: Any) -> Any:
    """Folders as references to parcels: what all ranks of a node read is sent there once."""
    if isinstance(value, Path):
        return ray.put(pack(value))
    return tuple(map(_sent, value)) if isinstance(value, tuple) else value


class Actors:
    def __init__(self, plan: Plan, places: Places, selector: dict[str, str]) -> None:
        self._size = plan.layout.ranks
        self._actors: list[Any] = []
        self._asked: dict[int, Any] = {}
        bundles = places.resources()
        labels: dict[str, Any] = {"bundle_label_selector": [selector] * len(bundles)} if selector else {}
        self._group = placement_group(bundles, strategy=places.strategy, **labels)
        if not self._group.wait(_ROOM):
            remove_placement_group(self._group)
            raise Unavailable(
                f"The cluster has no room for the trainer's {self._size} ranks ({plan.layout})",
                hint="Add nodes, or start the server with a smaller --layout.",
            )
        nodes: Mapping[int, str] = placement_group_table(self._group)["bundles_to_node_id"]
        # Ranks that are neighbours exchange most: those of one node follow one another.
        for bundle in sorted(nodes, key=nodes.__getitem__):
            self._actors += [self._hire(bundle, places) for _ in range(places.bundles[bundle])]

    def _hire(self, bundle: int, places: Places) -> Any:
        options: dict[str, Any] = {
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=bundle),
        }
        made = cast(Any, ray).remote(concurrency_groups={PULSE: 1})(Rank)
        return made.options(num_cpus=places.processors, num_gpus=1 if places.cards else 0, **options).remote()

    def meet(self, plan: Plan) -> Address:
        asked = [
            actor.meet.remote(plan.folder, anubhav.__version__, rank == 0) for rank, actor in enumerate(self._actors)
        ]
        try:
            answers: list[Address | AnubhavError] = ray.get(asked, timeout=_OPENING)
        except RayError as problem:
            raise Died from problem
        for found in answers:
            if not isinstance(found, Address):
                raise found
        return cast(Address, answers[0])

    def send(self, rank: int, method: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self._asked[rank] = self._actors[rank].do.remote(method, args, named)

    def hear(self, ranks: Collection[int], seconds: float) -> Mapping[int, Any]:
        waiting = {self._asked[rank]: rank for rank in ranks}
        end = time.monotonic() + seconds
        while True:
            left = max(0.0, end - time.monotonic())
            ready, _ = ray.wait(list(waiting), timeout=min(_BEAT, left))
            try:
                if ready:
                    return {waiting[one]: ray.get(one) for one in ready}
            except RayError as problem:
                log.warning("a rank was lost: %s", problem)
                raise Died from problem
            if left <= _BEAT:
                return {}
            if not self.whole:
                raise Died

    @property
    def whole(self) -> bool:
        return all(found is not None for found in self._ping(_SILENCE))

    def look(self) -> list[dict[str, Any]]:
        found = self._ping(_LOOK) or [None] * self._size
        return [{"alive": one is not None, **(one or {})} for one in found]

    def end(self) -> None:
        actors, self._actors = self._actors, []
        for actor in actors:
            ray.kill(actor)
        if actors:
            remove_placement_group(self._group)

    def _ping(self, seconds: float) -> list[dict[str, Any] | None]:
        """What each says; None of one that says nothing in this time."""
        asked = [actor.ping.options(concurrency_group=PULSE).remote() for actor in self._actors]
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=seconds) if asked else ([], [])
        return [_heard(one) if one in ready else None for one in asked]


def _heard(reference: Any) -> dict[str, Any] | None:
    try:
        return ray.get(reference)
    except RayError:
        return None
