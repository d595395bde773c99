"""Adapters saved under one layout are the same to the bit under any other, and for the torch backend."""

from contextlib import closing
from pathlib import Path

import pytest
import torch
from lessons import ADA, BOB, SPEC, STEP, go, lesson, made, plain, tensors
from safetensors import safe_open
from tiny import Gangs

from anubhav.backends.torch.engine import TorchEngine
from anubhav.cluster.layout import Layout
from anubhav.errors import BadInput
from anubhav.ports import Trainer
from anubhav.types.training import OptimParams, Pass

FILES = ("adapter_model.safetensors", "optimizer.safetensors")
FROM = Layout(fsdp=4, ep=4)
OTHERS = [Layout(tp=2, ep=2, pp=2), Layout()]


def contents(folder: Path) -> list[object]:
    """To the bit; but what safetensors writes about a file has no order."""
    found: list[object] = [(folder / "adapter_config.json").read_text()]
    for name in FILES:
        with safe_open(folder / name, framework="pt") as file:
            found.append(file.metadata())
        found.append(
            {
                key: (value.shape, bytes(value.flatten().view(torch.uint8).tolist()))
                for key, value in tensors(folder / name).items()
            }
        )
    return found


@pytest.fixture
async def saved(gangs: Gangs, tmp_path: Path) -> Path:
    """After two steps, so that the optimizer has something to remember."""
    trainer = gangs("mixture", FROM)
    await trainer.create(ADA, SPEC)
    for work in plain((1, 2)):
        await go(trainer, work)
        await trainer.step(ADA, STEP)
    await trainer.save(ADA, made(tmp_path / "saved"), optimizer=True)
    return tmp_path / "saved"


async def again(trainer: Trainer, source: Path, folder: Path) -> list[object]:
    await trainer.load(BOB, source, optimizer=True)
    await trainer.save(BOB, made(folder), optimizer=True)
    return contents(folder)


async def test_loaded_and_saved_under_other_layouts_nothing_changes(
    gangs: Gangs, folders: dict[str, Path], saved: Path, tmp_path: Path
) -> None:
    wanted = contents(saved)
    for number, layout in enumerate(OTHERS):
        assert await again(gangs("mixture", layout), saved, tmp_path / str(number)) == wanted
    with closing(TorchEngine(folders["mixture"])) as engine:
        assert await again(engine.trainer, saved, tmp_path / "torch") == wanted
        await engine.trainer.create(BOB, SPEC)
        await engine.trainer.save(BOB, made(tmp_path / "theirs"), optimizer=False)
    trainer = gangs("mixture", FROM)
    await trainer.create(BOB, SPEC)
    await trainer.save(BOB, made(tmp_path / "ours"), optimizer=False)
    fresh = [(tmp_path / name / FILES[0]).read_bytes() for name in ("ours", "theirs")]
    assert fresh[0] == fresh[1]


async def test_what_does_not_fit_is_refused_and_the_gang_goes_on(gangs: Gangs, saved: Path, tmp_path: Path) -> None:
    trainer = gangs("mixture", FROM)
    with pytest.raises(BadInput, match=r"no readable adapter_config\.json"):
        await trainer.load(BOB, tmp_path / "nowhere", optimizer=False)
    (saved / "optimizer.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BadInput, match=r"no readable optimizer\.safetensors"):
        await trainer.load(BOB, saved, optimizer=True)
    await go(trainer, Pass(ADA, lesson(4), "cross_entropy"))
    assert (await trainer.step(ADA, OptimParams(learning_rate=0.0)))["grad_norm"] > 0
