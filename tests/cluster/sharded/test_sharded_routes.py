"""Routing replay: the experts that a sampler told, by the number of the layer; a map that is off by one is refused."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lessons import ADA, SPEC, go, lesson
from tiny import Gangs
from transformers import AutoModelForCausalLM

from anubhav.backends.torch.engine import TorchEngine
from anubhav.cluster.layout import Layout
from anubhav.errors import BadInput
from anubhav.ports import Trainer
from anubhav.types.arrays import ints
from anubhav.types.training import ROUTES, Datum, OptimParams, Pass

LAYERS, MIXTURES, EACH = 4, (1, 2, 3), 2
LAYOUTS = [Layout(tp=2, fsdp=2, ep=4), Layout(fsdp=2, ep=2, pp=2), Layout(fsdp=4, ep=2, sp=2)]
STILL = OptimParams(learning_rate=0.0)


@pytest.fixture(scope="module")
def chosen(folders: dict[str, Path]) -> list[torch.Tensor]:
    """Per datum (tokens, layers, experts): what the model chooses, with a few tokens sent elsewhere; -1 where dense."""
    net = AutoModelForCausalLM.from_pretrained(folders["deepseek"], dtype=torch.float32)
    told: list[torch.Tensor] = []
    for layer in MIXTURES:
        net.model.layers[layer].mlp.gate.register_forward_hook(lambda _, __, out: told.append(out[2]))
    found: list[torch.Tensor] = []
    for datum in lesson(1):
        told.clear()
        with torch.no_grad():
            net(torch.tensor([datum.tokens]))
        routes = torch.full((len(datum.tokens), LAYERS, EACH), -1)
        for layer, experts in zip(MIXTURES, told, strict=True):
            routes[:, layer] = experts
        routes[::7, 2] = (routes[::7, 2] + 1) % 8  # as another engine's rounding would
        found.append(routes)
    return found


def with_routes(chosen: list[torch.Tensor], layers: tuple[int, ...]) -> tuple[Datum, ...]:
    return tuple(
        replace(datum, inputs={**datum.inputs, ROUTES: ints(flat(routes, layers), (len(routes), len(layers), EACH))})
        for datum, routes in zip(lesson(1), chosen, strict=True)
    )


def flat(routes: torch.Tensor, layers: tuple[int, ...]) -> list[int]:
    return routes[:, list(layers)].flatten().tolist()


async def losses(trainer: Trainer, data: tuple[Datum, ...]) -> tuple[float, ...]:
    """Loss, the gradient's norm, and how the tokens fell on the experts."""
    await trainer.create(ADA, SPEC)
    result = await go(trainer, Pass(ADA, data, "cross_entropy"))
    loads = [value for name, value in sorted(result.metrics.items()) if name.startswith("e_")]
    return result.metrics["loss:sum"], (await trainer.step(ADA, STILL))["grad_norm"], *loads


async def test_given_experts_are_used_whatever_the_layout_and_however_layers_are_counted(
    gangs: Gangs, folders: dict[str, Path], chosen: list[torch.Tensor]
) -> None:
    with closing(TorchEngine(folders["deepseek"])) as engine:
        wanted = await losses(engine.trainer, with_routes(chosen, MIXTURES))
        alone = await losses(engine.trainer, lesson(1))
    assert wanted != pytest.approx(alone, rel=1e-4)  # or a replay that does nothing would pass
    for layout, again in [*((layout, False) for layout in LAYOUTS), (Layout(tp=2, pp=2), True)]:
        trainer = gangs("deepseek", layout, recompute=again)
        for layers in (MIXTURES, tuple(range(LAYERS))):
            assert await losses(trainer, with_routes(chosen, layers)) == pytest.approx(wanted, rel=1e-5)


async def test_how_far_they_agree_is_told(gangs: Gangs, chosen: list[torch.Tensor]) -> None:
    trainer = gangs("deepseek", LAYOUTS[0])
    await trainer.create(ADA, SPEC)
    result = await go(trainer, Pass(ADA, with_routes(chosen, MIXTURES), "cross_entropy"))
    assert 0.85 < result.metrics["replay_agreement:mean"] < 1
    free = await go(trainer, Pass(ADA, lesson(1), "cross_entropy"))
    assert "replay_agreement:mean" not in free.metrics


@pytest.mark.parametrize("layout", LAYOUTS[:2], ids=str)
async def test_a_map_that_is_off_by_a_layer_is_refused(
    gangs: Gangs, chosen: list[torch.Tensor], layout: Layout
) -> None:
    trainer = gangs("deepseek", layout)
    await trainer.create(ADA, SPEC)
    await go(trainer, Pass(ADA, lesson(2), "cross_entropy"))
    for layers in ((0, 1, 2), (2, 3, 3)):
        (result,) = await trainer.run([Pass(ADA, with_routes(moved(chosen), layers), "cross_entropy")])
        assert isinstance(result.failure, BadInput)
        assert "are not those of these layers" in result.failure.message
        assert f"mixture {'after' if layers[0] == 0 else 'before'} it fit better" in result.failure.message
    norm = (await trainer.step(ADA, STILL))["grad_norm"]
    await go(trainer, Pass(ADA, lesson(2), "cross_entropy"))
    assert (await trainer.step(ADA, STILL))["grad_norm"] == pytest.approx(norm)
    assert norm > 0


def moved(chosen: list[torch.Tensor]) -> list[torch.Tensor]:
    """With something in the dense layer's row, as an engine that counts wrongly would have."""
    return [torch.where(routes < 0, routes[:, 3:4], routes) for routes in chosen]
