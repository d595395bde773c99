"""Uploads: equal bytes lie once and go with their last row; what a crash or the time left is removed."""

from pathlib import Path

import pytest

from anubhav.errors import BadInput, Broken, NotAllowed, NotFound
from anubhav.store import quotas
from anubhav.store.database import Database
from anubhav.training.uploads import Uploads
from anubhav.types.quotas import Quota


@pytest.fixture
def uploads(database: Database, tmp_path: Path) -> Uploads:
    return Uploads(database, tmp_path)


def blobs(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "blobs").iterdir())


async def test_equal_bytes_lie_once_and_go_with_their_last_row(uploads: Uploads, tmp_path: Path) -> None:
    mine = await uploads.add("alice", "a", "batch", b"same")
    theirs = await uploads.add("bob", "b", "batch", b"same")
    assert blobs(tmp_path) == [mine.digest] == [theirs.digest]
    await uploads.delete("alice", mine.id)
    assert await uploads.read(theirs.digest) == b"same"
    await uploads.delete("bob", theirs.id)
    assert blobs(tmp_path) == []


async def test_what_has_an_end_is_gone_then(
    uploads: Uploads, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await uploads.add("alice", "a", "batch", b"x", ttl=3600)
    assert await uploads.find("alice", row.id) == row
    monkeypatch.setattr("time.time", lambda: row.created_at + 3601)
    with pytest.raises(NotFound):
        await uploads.find("alice", row.id)
    assert not await uploads.page("alice", None, None, 9)
    kept = await uploads.add("alice", "b", "batch", b"y")
    assert blobs(tmp_path) == [kept.digest]
    for ttl in (0, 3599, 31 * 86_400):
        with pytest.raises(BadInput):
            await uploads.add("alice", "a", "batch", b"x", ttl=ttl)


async def test_a_start_removes_what_has_no_row(uploads: Uploads, tmp_path: Path) -> None:
    kept = await uploads.add("alice", "a", "batch", b"x")
    (tmp_path / "blobs/.new_half").write_bytes(b"hal")
    (tmp_path / "blobs" / ("0" * 64)).write_bytes(b"nobody's")
    await uploads.recover()
    assert blobs(tmp_path) == [kept.digest]


async def test_damaged_bytes_are_not_given_out(uploads: Uploads, tmp_path: Path) -> None:
    row = await uploads.add("alice", "a", "batch", b"x")
    (tmp_path / "blobs" / row.digest).write_bytes(b"z")
    with pytest.raises(Broken):
        await uploads.read(row.digest)


async def test_files_count_against_the_quota(uploads: Uploads, database: Database) -> None:
    await database.run(lambda c: quotas.keep(c, "alice", Quota(storage_bytes=10)))
    await uploads.add("alice", "a", "batch", b"x" * 7)
    with pytest.raises(NotAllowed, match="4 more"):
        await uploads.add("alice", "b", "batch", b"y" * 4)
    await uploads.add("bob", "b", "batch", b"y" * 40)


async def test_the_same_name_of_its_own_is_one_row(uploads: Uploads) -> None:
    for _ in range(2):
        row = await uploads.add("alice", "r", "fine-tune-results", b"x", known_as="file_r")
    assert [one.id for one in await uploads.page("alice", None, None, 9)] == [row.id] == ["file_r"]
