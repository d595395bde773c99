"""Saved adapters: never half there, never other than they were, and their owner's."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest
from workshop import CREATE, STEP, TENANT, Workshop, learn, save

from anubhav.errors import BadInput, Broken, NotAllowed, NotFound
from anubhav.store import checkpoints as shelf
from anubhav.store import releases
from anubhav.training.copies import Copy
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
    found = await workshop.database.run(lambda c: shelf.find(c, str(kept.path)))
    assert found is not None
    await workshop.database.run(lambda c: shelf.add(c, replace(kept, public=True), found[1]))
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


async def age(workshop: Workshop, kept: Checkpoint, seconds: float = 1.0) -> None:
    """Let its time have passed so long ago."""
    await workshop.database.run(lambda c: shelf.set_expiry(c, str(kept.path), time.time() - seconds))


async def test_an_expired_checkpoint_is_gone_at_once_and_its_files_with_the_next_look(workshop: Workshop) -> None:
    run = await workshop.new_run()
    saved = await workshop.do(run, 1, replace(save("short"), ttl=3600, metadata={"step": "1"}))
    assert isinstance(saved, Saved)
    kept = await workshop.desk.checkpoints.find(TENANT, saved.path)
    assert (kept.expires_at, kept.metadata) == (kept.created_at + 3600, {"step": "1"})
    stays = await keep(workshop, run, 2, "stays")
    await age(workshop, kept)
    with pytest.raises(NotFound):
        await workshop.desk.checkpoints.find(TENANT, saved.path)
    with pytest.raises(NotFound):
        await workshop.desk.checkpoints.folder(kept)
    with pytest.raises(NotFound):
        await workshop.desk.checkpoints.set_ttl(TENANT, saved.path, None)
    assert await workshop.desk.checkpoints.list(TENANT, run) == [stays]
    assert (workshop.folder / kept.folder).exists()
    await workshop.desk.checkpoints.expire()
    assert folders(workshop.folder) >= {stays.folder}
    assert not (workshop.folder / kept.folder).exists()


async def test_expired_files_are_swept_at_the_start(workshop: Workshop) -> None:
    run = await workshop.new_run()
    kept = await keep(workshop, run, 1)
    await age(workshop, kept)
    await workshop.restart()
    assert not (workshop.folder / kept.folder).exists()


async def test_an_expired_name_is_free_again_and_leaves_no_files(workshop: Workshop) -> None:
    run = await workshop.new_run()
    old = await keep(workshop, run, 1)
    await age(workshop, old)
    new = await keep(workshop, run, 2)
    assert new.path == old.path
    assert not (workshop.folder / old.folder).exists()


async def test_what_an_alias_answers_with_does_not_expire(workshop: Workshop) -> None:
    run = await workshop.new_run()
    kept = await keep(workshop, run, 1)
    release = Release("rel_1", "default", str(kept.path), kept.adapter, "promote", "test", "", 0.0)
    await workshop.database.run(lambda c: releases.add(c, release))
    await age(workshop, kept)
    await workshop.desk.checkpoints.expire()
    assert (await workshop.desk.checkpoints.find(TENANT, str(kept.path))).path == kept.path
    away = replace(release, id="rel_2", path=None, action="rollback")
    await workshop.database.run(lambda c: releases.add(c, away))
    with pytest.raises(NotFound):
        await workshop.desk.checkpoints.find(TENANT, str(kept.path))


@pytest.mark.parametrize("ttl", [3599, 0, -1, 11 * 366 * 86_400])
async def test_a_time_to_live_outside_its_limits_changes_nothing(workshop: Workshop, ttl: int) -> None:
    run = await workshop.new_run()
    kept = await keep(workshop, run, 1)
    with pytest.raises(BadInput):
        await workshop.submit(run, 2, replace(save("other"), ttl=ttl))
    with pytest.raises(BadInput):
        await workshop.desk.checkpoints.set_ttl(TENANT, str(kept.path), ttl)
    assert (await workshop.desk.checkpoints.find(TENANT, str(kept.path))).expires_at is None


async def test_a_copy_shares_its_files_until_the_last_of_both_goes(workshop: Workshop) -> None:
    run = await workshop.new_run()
    source = await keep(workshop, run, 1)
    path = await workshop.desk.copy(Copy(TENANT, source.path, "key"))
    assert await workshop.desk.copy(Copy(TENANT, source.path, "key")) == path
    made = await workshop.desk.checkpoints.find(TENANT, path)
    assert made.folder == source.folder
    other = await keep(workshop, run, 2, "other")
    with pytest.raises(BadInput):
        await workshop.desk.copy(Copy(TENANT, other.path, "key"))
    await keep(workshop, run, 3, overwrite=True)
    assert (await workshop.desk.checkpoints.folder(made)).is_dir()
    await workshop.restart()
    assert (await workshop.desk.checkpoints.folder(made)).is_dir()
    await workshop.desk.checkpoints.delete(TENANT, path)
    assert not (workshop.folder / made.folder).exists()
    with pytest.raises(BadInput, match="copy"):
        await workshop.submit(made.path.run, 1, learn(WORDS))
    with pytest.raises(BadInput, match="copy"):
        await workshop.submit(made.path.run, 0, CREATE)


async def test_external_weights_are_for_downloading_alone(workshop: Workshop) -> None:
    run = await workshop.new_run()
    saved = await workshop.do(run, 1, save("out", "external_weights"))
    assert isinstance(saved, Saved)
    kept = await workshop.desk.checkpoints.find(TENANT, saved.path)
    assert set((await workshop.desk.checkpoints.files(kept))[1]) == {WEIGHTS, "adapter_config.json"}
    with pytest.raises(BadInput, match="downloaded"):
        await workshop.submit(run, 2, Load(saved.path, optimizer=False))
    with pytest.raises(BadInput, match="downloaded"):
        await workshop.desk.checkpoints.folder(kept)
    with pytest.raises(BadInput):
        await workshop.desk.copy(Copy(TENANT, kept.path))
