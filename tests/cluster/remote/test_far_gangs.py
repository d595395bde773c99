"""Gangs of Ray actors: where they go, and what happens when a node or a rank of one is gone."""

import asyncio
import os
import signal
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import ray
from three_nodes import ray_cluster
from tiny_llama import write_llama

from anubhav.backends.torch.engine import TorchEngine
from anubhav.cluster.layout import Layout
from anubhav.cluster.remote import actors
from anubhav.cluster.remote.actors import far_trainer
from anubhav.cluster.remote.connection import Node, share
from anubhav.cluster.remote.draining import drain, undrain
from anubhav.cluster.remote.engine import RemoteEngine, Wanted
from anubhav.cluster.remote.nodes import Nodes
from anubhav.cluster.remote.placing import check_places, places_of
from anubhav.cluster.sharded.designs import Design, plan_for
from anubhav.cluster.sharded.trainer import ShardedTrainer
from anubhav.errors import BadInput, Lost, Unavailable
from anubhav.ports import Trainer
from anubhav.types.arrays import floats, ints
from anubhav.types.distilling import Continuation, Distillation
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

A, B = AdapterId("a"), AdapterId("b")
STEP = OptimParams(learning_rate=1e-2)
SPREAD = Design(Layout(fsdp=2), bundles=(1, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("far") / "tiny"
    write_llama(folder, vocab=96, context=64, width=36, loud=0.2)
    return folder


def datum(first: int) -> Datum:
    tokens = [(first + 7 * place) % 90 for place in range(10)]
    return Datum(tuple(tokens[:-1]), {"target_tokens": ints(tokens[1:]), "weights": floats([1.0] * 9)})


async def loss(trainer: Trainer, adapter: AdapterId = A) -> float:
    (result,) = await trainer.run([Pass(adapter, (datum(3), datum(4), datum(5)), "cross_entropy")])
    if result.failure:
        raise result.failure
    return result.metrics["loss:sum"]


async def learn(trainer: Trainer, scratch: Path) -> list[float]:
    """Everything that folders are sent for: losses on the way, the adapter in the end in `scratch`/saved."""
    told: list[float] = []
    await trainer.create(A, LoraSpec(rank=4, seed=1))
    for _ in range(2):
        told += [await loss(trainer), (await trainer.step(A, STEP))["grad_norm"]]
    (scratch / "saved").mkdir(parents=True)
    await trainer.save(A, scratch / "saved", optimizer=True)
    await trainer.blend(B, [(scratch / "saved", 0.5), (scratch / "saved", 1.0)])
    work = Distillation((Continuation((3, 7), (5, 9, 2), (4, 8, 15), (1.0, 0.5, 1.0)),))
    told += [await loss(trainer, B), *(await trainer.distil(B, work, scratch / "saved")).losses]
    await trainer.load(A, scratch / "saved", optimizer=True)
    return [*told, await loss(trainer)]


def struck(cluster: Any, crew: Any) -> None:
    """One node that has a rank is gone, and it is not the head."""
    held = set(ray.util.placement_group_table(crew._group)["bundles_to_node_id"].values())
    cluster.remove_node(next(node for node in cluster.worker_nodes if node.node_id in held), allow_graceful=False)


async def test_a_gang_over_nodes_learns_as_one_process_and_is_put_up_whole_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(TorchEngine(folder)) as engine:
        alone = await learn(engine.trainer, tmp_path / "near")
    with ray_cluster() as (cluster, nodes):
        check_places(SPREAD, folder, nodes, 1, 0)
        plan = plan_for(SPREAD, folder, None, device="cpu", threads=1)
        places, ground = places_of(SPREAD, nodes, 1), Nodes()
        gang = partial(far_trainer, plan, places, ground.selector)
        with closing(RemoteEngine(folder, None, Wanted(0, 1, ranks=places), gang, ground)) as engine:
            await engine.open()
            trainer = cast(ShardedTrainer, engine.trainer)
            assert await learn(trainer, tmp_path / "far") == pytest.approx(alone, rel=1e-5)
            before = await loss(trainer)
            left = (await trainer.look())[1]["node_id"]
            assert (await drain([engine], left))["moved"] == ["tiny trainer"]
            assert left not in await engine.standing()
            with pytest.raises(Lost, match="started anew"):
                await loss(trainer)
            await trainer.load(A, tmp_path / "far" / "saved", optimizer=True)
            assert await loss(trainer) == before
            with pytest.raises(Unavailable, match="tiny trainer would find no room"):
                await drain([engine], (await trainer.look())[0]["node_id"])
            await undrain([engine], left)
            assert trainer._gang
            struck(cluster, trainer._gang.crew)
            with pytest.raises(Lost):
                for _ in range(300):  # a process outlives its node by a few seconds
                    assert await loss(trainer) == before
                    await asyncio.sleep(0.1)
            with pytest.raises(Lost, match="started anew"):
                await loss(trainer)
            await trainer.load(A, tmp_path / "far" / "saved", optimizer=True)
            assert await loss(trainer) == before
            # There are as many nodes now as ranks, so what a silent rank held has to be free again.
            monkeypatch.setattr(actors, "_BEAT", 1.0)
            monkeypatch.setattr(actors, "_SILENCE", 5.0)
            os.kill((await trainer.look())[1]["pid"], signal.SIGSTOP)
            with pytest.raises(Lost, match="died during run"):
                await loss(trainer)
            monkeypatch.undo()
            await trainer.load(A, tmp_path / "far" / "saved", optimizer=True)
            assert await loss(trainer) == before
            assert [(row["post"], row["term"], row["alive"]) for row in await trainer.look()] == [
                ("tiny trainer rank 0", 4, True),
                ("tiny trainer rank 1", 4, True),
            ]


@pytest.mark.parametrize(
    ("design", "nodes", "says", "hint"),
    [
        (Design(Layout(fsdp=4)), [Node(4)], "makes 4 ranks .* nodes have processors for 3", "--layout fsdp=3"),
        (Design(Layout(fsdp=4)), [Node(8, 1), Node(8, 1)], "nodes have cards for 2", "--layout fsdp=2"),
        (Design(Layout(tp=2, fsdp=2), bundles=(2, 2)), [Node(9)], "on 2 nodes, 2 on each, .* have 9", "tp=2,fsdp=2"),
        (Design(Layout(fsdp=4), bundles=(4,)), [Node(3, 3), Node(3, 3)], "on 1 nodes, 4 on each, .* 3, 3 cards", ""),
        (Design(Layout(tp=3)), [Node(9)], "no multiple of tp 3", "fsdp=3"),
    ],
)
def test_a_gang_that_finds_no_room_is_refused_with_what_does(
    folder: Path, design: Design, nodes: list[Node], says: str, hint: str
) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        check_places(design, folder, nodes, 1, 1)
    assert hint in refused.value.hint


def test_a_gang_is_placed_by_its_plan_or_wherever_there_is_room() -> None:
    nodes = [Node(4, 2), Node(4, 2)]
    planned = places_of(Design(Layout(fsdp=4), bundles=(2, 2)), nodes, 1)
    assert (planned.strategy, planned.resources()) == ("STRICT_SPREAD", [{"CPU": 2, "GPU": 2}] * 2)
    packed = places_of(Design(Layout(fsdp=2), bundles=(2,)), [Node(8)], 3)
    assert (packed.strategy, packed.resources()) == ("STRICT_PACK", [{"CPU": 6}])
    loose = places_of(Design(Layout(fsdp=2)), [Node(8)], 2)
    assert (loose.strategy, loose.resources()) == ("PACK", [{"CPU": 2}] * 2)


def test_ranks_share_processors_with_samplers_and_stay_in_their_bundles() -> None:
    assert share(1, 1, [Node(6), Node(4)], 4) == 2
    assert share(1, 1, [Node(6), Node(4)], 4, (4,)) == 1
