"""A backup taken while the house works, and what a restored folder knows."""

import asyncio
import io
import sqlite3
import stat
import tarfile
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner, Result
from fake_model import write_model
from loopback import Loopback, hosted
from workshop import STEP, TENANT, Workshop, learn, save

from anubhav.cli import main
from anubhav.store.database import Database
from anubhav.store.vault import Vault
from anubhav.training.promises import Saved


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"ANUBHAV_API_KEY": None, **environment})


def ask(house: Loopback, text: str) -> str:
    body = {"model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 3}
    response = httpx2.post(f"{house.url}/v1/chat/completions", json=body, headers={"x-api-key": house.key}, timeout=60)
    return response.json()["id"]


def test_a_running_server_is_copied_and_goes_on_elsewhere(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_model(tmp_path / name / "tiny")
    archive = tmp_path / "copy.tar"
    with hosted(tmp_path / "first") as house:
        kept = ask(house, "before")
        done = invoke("backup", str(archive), "--url", house.url, ANUBHAV_API_KEY=house.key)
        assert done.exit_code == 0, done.output
        assert "their hashes hold" in done.output
        later = ask(house, "after")
        assert invoke("backup", str(archive), "--url", house.url, ANUBHAV_API_KEY=house.key).exit_code == 1
        refused = invoke("backup", str(tmp_path / "x.tar"), "--url", house.url, ANUBHAV_API_KEY=house.add_key("ann"))
        assert refused.exit_code == 1
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert not [path for path in (tmp_path, tmp_path / "first/data") if list(path.glob(".backup-*"))]
    data = tmp_path / "second" / "data"
    restored = invoke("restore", str(archive), "--data-dir", str(data))
    assert restored.exit_code == 0, restored.output
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "token-key").stat().st_mode) == 0o600
    with hosted(tmp_path / "second") as house:
        names = [episode.id for episode, _ in house.run(house.house.recorder.recent(9))]
    assert names == [kept]
    assert later not in names
    assert invoke("restore", str(archive), "--data-dir", str(data)).exit_code == 1


async def pack(vault: Vault) -> bytes:
    return b"".join([piece async for piece in vault.pack()])


async def test_checkpoints_of_the_moment_are_in_it_though_they_are_deleted_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    workshop = Workshop(tmp_path / "old")
    run = await workshop.new_run()
    await workshop.do(run, 1, learn([1, 2, 3, 4]))
    await workshop.do(run, 2, STEP)
    saved = await workshop.do(run, 3, save("one"))
    assert isinstance(saved, Saved)
    vault = Vault(workshop.database, tmp_path / "old")
    packing = vault.pack()
    pieces = [await anext(packing)]
    await workshop.desk.checkpoints.delete(TENANT, saved.path)
    pieces += [piece async for piece in packing]
    await workshop.close()
    (tmp_path / "copy.tar").write_bytes(b"".join(pieces))
    done = invoke("restore", str(tmp_path / "copy.tar"), "--data-dir", str(tmp_path / "new"))
    assert done.exit_code == 0, done.output
    again = Workshop(tmp_path / "new")
    found = await again.desk.checkpoints.find(TENANT, saved.path)
    assert (await again.desk.checkpoints.folder(found)).is_dir()
    await again.close()


async def test_works_go_on_while_it_is_copied_and_are_in_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "anubhav.db")
    await database.run(lambda c: c.execute("CREATE TABLE pages (number INTEGER, filling BLOB)"))
    filling = [(number,) for number in range(4000)]
    await database.run(lambda c: c.executemany("INSERT INTO pages VALUES (?, zeroblob(4000))", filling))
    marks: list[int] = []
    copying = asyncio.create_task(database.copy(tmp_path / "copy.db", lambda: marks.append(-1)))
    number = 0
    while not copying.done():
        await database.run(lambda c, n=number: c.execute("INSERT INTO pages VALUES (?, NULL)", (10_000 + n,)))
        marks.append(number)
        number += 1
    await copying
    assert marks.index(-1) > 1, "nothing was done while it was copied"
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        (inside,) = copy.execute("SELECT count(*) FROM pages WHERE number >= 10000").fetchone()
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    database.close()
    # Told of in order: what was done before the mark is in it, and at most one more that nobody was told of yet.
    assert marks.index(-1) <= inside <= marks.index(-1) + 1


def test_a_folder_that_no_server_holds_is_read_itself(tmp_path: Path) -> None:
    workshop_folder = tmp_path / "data"
    write_folder(workshop_folder)
    for left_out in ("models", "metrics", "trackers"):
        (workshop_folder / left_out).mkdir()
        (workshop_folder / left_out / "large").write_text("x")
    done = invoke("backup", str(tmp_path / "c.tar"), "--data-dir", str(workshop_folder), "--url", "http://127.0.0.1:9")
    assert done.exit_code == 0, done.output
    with tarfile.open(tmp_path / "c.tar") as tar:
        assert sorted(tar.getnames()) == ["SHA256SUMS", "anubhav.db", "api-key"]
    nowhere = invoke("backup", str(tmp_path / "d.tar"), "--data-dir", str(tmp_path), "--url", "http://127.0.0.1:9")
    assert nowhere.exit_code == 4
    assert not (tmp_path / "d.tar").exists()


def write_folder(folder: Path) -> None:
    folder.mkdir()
    Database(folder / "anubhav.db").close()
    (folder / "api-key").write_text("tml-1")


@pytest.mark.parametrize("harm", ["flipped", "short", "other", "outside", "unlisted"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(tmp_path: Path, harm: str) -> None:
    write_folder(tmp_path / "data")
    archive = tmp_path / "c.tar"
    done = invoke("backup", str(archive), "--data-dir", str(tmp_path / "data"), "--url", "http://127.0.0.1:9")
    assert done.exit_code == 0
    whole = archive.read_bytes()
    if harm == "flipped":
        place = whole.index(b"SQLite format 3")
        archive.write_bytes(whole[:place] + b"s" + whole[place + 1 :])
    elif harm == "short":
        archive.write_bytes(whole[: len(whole) // 2])
    elif harm == "other":
        archive.write_bytes(b"no archive at all" * 100)
    else:
        archive.write_bytes(_with(whole, "../../evil" if harm == "outside" else "stowaway"))
    refused = invoke("restore", str(archive), "--data-dir", str(tmp_path / "new"))
    assert refused.exit_code == 1
    assert "Use another backup" in refused.output
    assert not list((tmp_path / "new").iterdir())
    assert not (tmp_path.parent / "evil").exists()


def _with(whole: bytes, name: str) -> bytes:
    """The archive with one more file in front."""
    extra = io.BytesIO()
    with tarfile.open(fileobj=extra, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    return extra.getvalue()[:1024] + whole
