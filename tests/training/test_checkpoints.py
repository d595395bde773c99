"""Saved adapters: never half there, never other than they were, and their owner's."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from workshop import STEP, TENANT, Workshop, learn, save

from anubhav.errors import BadInput, Broken, NotAllowed, NotFound
from anubhav.store import releases, runs
from anubhav.training.promises import Saved
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.experience import Release
from anubhav.types.ids import RunId
from anubhav.types.operations import Load

WORDS = (3, 7, 11, 5)
WEIGHTS = "adapter_model.safetensors"


async def keep(workshop: Workshop, run: RunId, seq: int, name: str = "kept", *, overwrite: bool = False) -> Checkpoint:
    saved = await workshop.do(run, seq, save(name, overwrite=overwrite))
    assert isinstance(saved, Saved)
    return await workshop.desk.checkpoints.find(TENANT, saved.path)


def folders(root: Path) -> set[str]:
    return {f"{part}/{entry.name}" for part in ("checkpoints", "snapshots") for entry in (root / part).iterdir()}


async def test_a_checkpoint_is_named_after_its_weights(workshop: Workshop) -> None:
    run = await workshop.new_run()
    one = await keep(workshop, run, 1, "one")
    same = await keep(workshop, run, 2, "two")
    await workshop.do(run, 3, learn(WORDS))
    await workshop.do(run, 4, STEP)
    other = await keep(workshop, run, 5, "three")
    digest = hashlib.sha256((workshop.folder / one.folder / WEIGHTS).read_bytes()).hexdigest()
    assert one.adapter == same.adapter == f"ad_{digest[:24]}"
    assert other.adapter != one.adapter
    files = list((workshop.folder / one.folder).iterdir())
    assert {file.name for file in files} == {WEIGHTS, "adapter_config.json", "optimizer.safetensors"}
    assert one.size_bytes == sum(file.stat().st_size for file in files)
    assert await workshop.desk.checkpoints.list(TENANT, run) == [one, same, other]


@pytest.mark.parametrize("file", [WEIGHTS, "adapter_config.json", "optimizer.safetensors"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
async def test_an_altered_checkpoint_is_refused_by_the_files_name(workshop: Workshop, file: str, harm: str) -> None:
    run = await workshop.new_run()
    await workshop.do(run, 1, learn(WORDS))
    await workshop.do(run, 2, STEP)
    kept = await keep(workshop, run, 3)
    damage(workshop.folder / kept.folder / file, harm)
    # Verified once in the life of a process, so it takes another one to see it.
    await workshop.restart()
    with pytest.raises(Broken, match=file):
        await workshop.desk.checkpoints.folder(kept)
    failure = await workshop.do(run, 4, Load(str(kept.path), optimizer=True))
    assert isinstance(failure, Broken)
    assert file in failure.message
    assert not isinstance(await workshop.do(run, 5, learn(WORDS)), Broken)


def damage(file: Path, harm: str) -> None:
    content = bytearray(file.read_bytes())
    match harm:
        case "flip":
            content[len(content) // 2] ^= 1
        case "cut":
            del content[-1:]
        case _:
            file.unlink()
            return
    file.write_bytes(content)


async def test_a_name_is_taken_once_unless_overwritten(workshop: Workshop) -> None:
    run = await workshop.new_run()
    first = await keep(workshop, run, 1)
    with pytest.raises(BadInput, match="exists already"):
        await workshop.submit(run, 2, save("kept"))
    await workshop.do(run, 2, learn(WORDS))
    # The name is free when this is handed in, and taken when its turn has come.
    late = await workshop.submit(run, 5, save("soon"))
    await workshop.submit(run, 4, save("soon"))
    await workshop.do(run, 3, STEP)
    assert isinstance(await workshop.wait(late), BadInput)
    second = await keep(workshop, run, 6, overwrite=True)
    assert second.path == first.path
    assert second.adapter != first.adapter
    await workshop.do(run, 7, STEP)
    assert not (workshop.folder / first.folder).exists()
    assert (await workshop.desk.checkpoints.folder(second)).is_dir()


async def test_kinds_have_names_of_their_own(workshop: Workshop) -> None:
    run = await workshop.new_run()
    weights = await workshop.do(run, 1, save("same"))
    sampler = await workshop.do(run, 2, save("same", "sampler_weights"))
    assert isinstance(weights, Saved)
    assert isinstance(sampler, Saved)
    assert weights.path != sampler.path
    light = await workshop.desk.checkpoints.find(TENANT, sampler.path)
    assert not light.has_optimizer
    assert not (workshop.folder / light.folder / "optimizer.safetensors").exists()


async def test_a_deleted_checkpoint_is_gone_with_its_files(workshop: Workshop) -> None:
    run = await workshop.new_run()
    kept = await keep(workshop, run, 1)
    await workshop.desk.checkpoints.delete(TENANT, str(kept.path))
    assert not (workshop.folder / kept.folder).exists()
    with pytest.raises(NotFound):
        await workshop.desk.checkpoints.find(TENANT, str(kept.path))


async def test_what_an_alias_answers_with_cannot_be_deleted(workshop: Workshop) -> None:
    run = await workshop.new_run()
    kept = await keep(workshop, run, 1)
    release = Release("rel_1", "default", str(kept.path), kept.adapter, "promote", "test", "", 0.0)
    await workshop.database.run(lambda c: releases.add(c, release))
    with pytest.raises(NotAllowed):
        await workshop.desk.checkpoints.delete(TENANT, str(kept.path))
    away = replace(release, id="rel_2", path=None, action="rollback")
    await workshop.database.run(lambda c: releases.add(c, away))
    await workshop.desk.checkpoints.delete(TENANT, str(kept.path))


async def test_a_public_checkpoint_can_be_read_and_not_deleted_by_others(workshop: Workshop) -> None:
    run = await workshop.new_run()
    kept = await keep(workshop, run, 1)
    found = await workshop.database.run(lambda c: runs.find_checkpoint(c, str(kept.path)))
    assert found is not None
    await workshop.database.run(lambda c: runs.add_checkpoint(c, replace(kept, public=True), found[1]))
    assert (await workshop.desk.checkpoints.find("mallory", str(kept.path))).public
    with pytest.raises(NotFound):
        await workshop.desk.checkpoints.delete("mallory", str(kept.path))


async def test_what_a_crash_left_half_done_is_swept(workshop: Workshop) -> None:
    run = await workshop.new_run()
    kept = await keep(workshop, run, 1)
    for left in ("checkpoints/.new_1", "checkpoints/ck_without_row", "snapshots/.new_2", "snapshots/ck_3"):
        (workshop.folder / left).mkdir()
        (workshop.folder / left / WEIGHTS).write_bytes(b"half")
    await workshop.restart()
    assert folders(workshop.folder) == {kept.folder}


async def test_a_failed_save_leaves_nothing(workshop: Workshop) -> None:
    run = await workshop.new_run()
    before = folders(workshop.folder)
    await workshop.trainer.drop(run)
    assert isinstance(await workshop.do(run, 1, save("none")), NotFound)
    assert folders(workshop.folder) == before
