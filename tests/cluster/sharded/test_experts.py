"""The four kinds of LoRA on experts: what is shared gets the sum of the gradients it would have apart."""

from contextlib import closing
from pathlib import Path

import pytest
import torch
from lessons import ADA, apart, begin_at, go, learn, lesson, made, off, plain, tensors
from tiny import Gangs
from torch import Tensor

from anubhav.backends.torch.engine import TorchEngine
from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded.places import Kind
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec, Pass

EXPERTS = 8
LAYOUTS: dict[Kind, list[Layout]] = {
    "tied": [Layout(fsdp=2, ep=2)],
    "shared_outer": [Layout(fsdp=2, ep=2), Layout(tp=2)],
    "normalised": [Layout(tp=2)],
}


def of_experts(name: str, half: str) -> tuple[str, ...]:
    """The names of the factor of every expert at the place of one of them."""
    before, _, after = name.partition(".experts.0.")
    return tuple(f"{before}.experts.{number}.{after}" for number in range(EXPERTS)) if after.endswith(half) else ()


def summed(apart_ones: dict[str, Tensor], kind: Kind) -> dict[str, Tensor]:
    """The gradients of factors that are shared, out of those of factors that are not."""
    found = dict(apart_ones)
    for name in apart_ones:
        half = name.rsplit("lora_")[-1]
        outer = ("B.weight" if "down_proj" in name else "A.weight") == half
        names = of_experts(name, half) if ".experts.0." in name and (kind == "tied" or outer) else ()
        total = torch.stack([apart_ones[one] for one in names]).sum(0) if names else torch.empty(0)
        found |= dict.fromkeys(names, total)
    return found


@pytest.mark.parametrize("kind", LAYOUTS)
async def test_each_kind_learns_alike_in_every_layout_and_as_its_copies_would(
    kind: Kind, gangs: Gangs, folders: dict[str, Path], tmp_path: Path
) -> None:
    single = gangs("mixture", Layout(), kind)
    begin = await begin_at(single, tmp_path / "begin")
    one = await learn(single, begin, tmp_path / "one", plain())
    for number, layout in enumerate(LAYOUTS[kind]):
        found = await learn(gangs("mixture", layout, kind), begin, tmp_path / str(number), plain())
        assert found.norms == pytest.approx(one.norms, rel=1e-5)
        assert apart(found.gradient, one.gradient) < 1e-5
        assert off(found.weights, one.weights) < 1e-5
    with closing(TorchEngine(folders["mixture"])) as engine:
        theirs = await learn(engine.trainer, begin, tmp_path / "theirs", plain((1,)))
    assert one.results[0].metrics["loss:sum"] == pytest.approx(theirs.results[0].metrics["loss:sum"], rel=1e-5)
    if kind != "normalised":  # whose gradient the torch backend has for a larger rank
        scale = one.norms[0] / theirs.norms[0]  # both were clipped, to the norm of what they are
        wanted = {name: value / scale for name, value in summed(theirs.gradient, kind).items()}
        assert apart(one.gradient, wanted) < 1e-4


async def test_experts_that_differ_cannot_share(gangs: Gangs, tmp_path: Path) -> None:
    apart_ones = gangs("mixture", Layout())
    begin = await begin_at(apart_ones, tmp_path / "begin")
    with pytest.raises(BadInput, match="have an A each"):
        await gangs("mixture", Layout(), "tied").load(ADA, begin, optimizer=False)
    with pytest.raises(BadInput, match="rank 8; normalised"):
        await gangs("mixture", Layout(), "normalised").load(ADA, begin, optimizer=False)


async def test_a_normalised_adapter_has_its_rank_for_each_token(gangs: Gangs, tmp_path: Path) -> None:
    trainer = gangs("mixture", Layout(), "normalised")
    await trainer.create(ADA, LoraSpec(rank=8))
    await trainer.save(ADA, made(tmp_path / "saved"), optimizer=False)
    shapes = {name: tuple(value.shape) for name, value in tensors(tmp_path / "saved/adapter_model.safetensors").items()}
    root = "base_model.model.model.layers.0"
    assert shapes[f"{root}.self_attn.q_proj.lora_A.weight"] == (8, 64)
    assert shapes[f"{root}.mlp.experts.3.up_proj.lora_A.weight"] == (4, 64)
    assert '"rank_pattern"' in (tmp_path / "saved/adapter_config.json").read_text()
    with pytest.raises(BadInput, match="2 experts of a token"):
        await trainer.create(ADA, LoraSpec(rank=7))
    await go(trainer, Pass(ADA, lesson(1), "cross_entropy"))


def test_what_is_learnt_is_compared() -> None:
    """The comparison above fails for a gradient that is not summed."""
    names = [f"x.experts.{number}.up_proj.lora_A.weight" for number in range(EXPERTS)]
    gradient = {name: torch.full((2,), float(number)) for number, name in enumerate(names)}
    assert summed(gradient, "shared_outer")[names[3]].tolist() == [28.0, 28.0]
    assert summed(gradient, "per_expert")[names[3]].tolist() == [28.0, 28.0]
