"""Archives from elsewhere: what is safe is kept as a checkpoint of a run of its own, what is not leaves nothing."""

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from workshop import CONTEXT, MODEL, STEP, TENANT, VOCAB, Workshop, learn, save

from anubhav.errors import BadInput, TooLarge
from anubhav.training import imports
from anubhav.training.export import tar_gz
from anubhav.training.imports import FILES, Import, Imports, max_rank, unpack
from anubhav.training.limits import Limits
from anubhav.training.promises import Saved
from anubhav.types.ids import RunId
from anubhav.types.models import Model
from anubhav.types.operations import Load
from anubhav.types.training import PassResult

WEIGHTS, CONFIG = FILES


def packed(*members: tuple[str | tarfile.TarInfo, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return io.BytesIO(out.getvalue())


def special(kind: bytes, name: str = WEIGHTS, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_only_the_two_files_are_written_whatever_else_is_there(tmp_path: Path) -> None:
    archive = packed((f"best/{WEIGHTS}", b"w"), (f"best/{CONFIG}", b"{}"), ("best/run.py", b"x"), ("README.md", b"#"))
    unpack(archive, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {WEIGHTS: b"w", CONFIG: b"{}"}


@pytest.mark.parametrize(
    "member",
    [
        special(tarfile.SYMTYPE),
        special(tarfile.LNKTYPE),
        special(tarfile.FIFOTYPE),
        special(tarfile.CHRTYPE),
        special(tarfile.GNUTYPE_SPARSE),
        f"/{WEIGHTS}",
        f"../{WEIGHTS}",
        f"a/../../{WEIGHTS}",
        f"a\\..\\{WEIGHTS}",
    ],
    ids=lambda one: one if isinstance(one, str) else one.type.decode(),
)
def test_links_devices_and_ways_out_are_refused(tmp_path: Path, member: str | tarfile.TarInfo) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(BadInput):
        unpack(packed((CONFIG, b"{}"), (member, b"")), tmp_path / "in")
    assert {path.name for path in tmp_path.rglob("*")} <= {"in", CONFIG}


def test_what_is_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLarge, match="megabyte"):
        unpack(packed((CONFIG, bytes(2 << 20))), tmp_path)
    with pytest.raises(TooLarge, match="1000 files"):
        unpack(packed(*[(f"{number}", b"") for number in range(1001)]), tmp_path)
    monkeypatch.setattr(imports, "MAX_UNPACKED", 3 << 20)
    with pytest.raises(TooLarge, match="3 MB"):
        unpack(packed(("filler", bytes(4 << 20)), (CONFIG, b"{}")), tmp_path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    whole = packed((CONFIG, bytes(range(256)) * 40)).getvalue()
    for content in (b"", b"PK\x03\x04", whole[: len(whole) // 2], gzip.compress(b"not a tar" * 100)):
        with pytest.raises(BadInput):
            unpack(io.BytesIO(content), tmp_path)
    with pytest.raises(BadInput, match="twice"):
        unpack(packed((f"a/{CONFIG}", b"{}"), (f"b/{CONFIG}", b"{}")), tmp_path)


def header(content: Any) -> bytes:
    text = json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text


def test_the_rank_is_known_before_anything_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / WEIGHTS
    entry = {"dtype": "F32", "shape": [300_000, 1], "data_offsets": [0, 1_200_000]}
    file.write_bytes(header({"m.lora_A.weight": entry, "m.lora_B.weight": entry | {"shape": [1, 300_001]}}))
    assert max_rank(file) == 300_000
    stacked = {
        "mlp.experts.w1.lora_A.weight": entry | {"shape": [128, 7, 2]},
        "q.lora_A.weight": entry | {"shape": [5, 2]},
    }
    flat = {"mlp.experts.base_layer.lora_A.weight": entry | {"shape": [128 * 9, 2]}}
    file.write_bytes(header({"mlp.experts.3.up_proj.lora_A.weight": entry | {"shape": [6, 2]}, **stacked}))
    assert max_rank(file, 128) == 7
    file.write_bytes(header({**stacked, **flat}))
    assert max_rank(file, 128) == 9
    for content in (b"", b"\xff" * 8, header([]), header("x"), (4).to_bytes(8, "little") + b"[[[["):
        file.write_bytes(content)
        with pytest.raises(BadInput):
            max_rank(file)
    file.write_bytes(header({"m.lora_A.weight": {"shape": "many"}, "n.lora_A.weight": 3}))
    assert max_rank(file) == 0


async def exported(workshop: Workshop) -> tuple[io.BytesIO, float]:
    """A checkpoint of a run that has learnt, packed as downloads pack it, and the loss it had come to."""
    run = await workshop.new_run()
    for seq in (1, 3):
        await workshop.do(run, seq, learn((1, 2, 3, 4)))
        await workshop.do(run, seq + 1, STEP)
    saved = await workshop.do(run, 5, save("there"))
    loss = await workshop.do(run, 6, learn((1, 2, 3, 4), backward=False))
    assert isinstance(saved, Saved)
    assert isinstance(loss, PassResult)
    folder, names = await workshop.desk.checkpoints.files(await workshop.desk.checkpoints.find(TENANT, saved.path))
    return io.BytesIO(b"".join(tar_gz(folder, names))), loss.metrics["loss:sum"]


async def test_an_import_is_a_checkpoint_to_train_on_from(workshop: Workshop) -> None:
    archive, loss = await exported(workshop)
    path = str(await workshop.desk.imports.take(Import("bob", "mine"), archive))
    await workshop.restart()
    found = await workshop.desk.checkpoints.find("bob", path)
    assert (found.base_model, found.spec.rank, found.has_optimizer) == (MODEL, 4, False)
    assert {file.name for file in (await workshop.desk.checkpoints.folder(found)).iterdir()} == set(FILES)
    with pytest.raises(BadInput, match="holds"):
        await workshop.desk.submit("bob", found.path.run, 1, STEP)

    session = await workshop.desk.open_session("bob", [], {}, "test")
    run = RunId(f"{session}:train:0")
    losses: list[float] = []
    for seq, operation in enumerate([Load(path, optimizer=False), learn((1, 2, 3, 4)), STEP, learn((1, 2, 3, 4))]):
        promise = await workshop.desk.submit("bob", run, seq, operation)
        outcome = await workshop.desk.promises.wait("bob", promise, 10)
        if isinstance(outcome, PassResult):
            losses.append(outcome.metrics["loss:sum"])
    assert losses[0] == pytest.approx(loss)
    assert losses[1] < losses[0]
    with pytest.raises(BadInput, match="without its optimizer"):
        await workshop.desk.submit("bob", RunId(f"{session}:train:1"), 0, Load(path, optimizer=True))


@pytest.mark.parametrize(
    ("wanted", "members", "message"),
    [
        (Import(TENANT, "a/b"), [], "name"),
        (Import(TENANT, "x"), [(CONFIG, b"{}")], WEIGHTS),
        (Import(TENANT, "x"), [("adapter_model.bin", b"pickle"), (CONFIG, b"{}")], WEIGHTS),
        (Import(TENANT, "x", "gpt-9"), [(CONFIG, b"{}"), (WEIGHTS, header({"a": {}}))], "gpt-9"),
        (Import(TENANT, "x"), [(CONFIG, b"["), (WEIGHTS, header({"a": {}}))], "read"),
        (
            Import(TENANT, "x"),
            [(CONFIG, b"{}"), (WEIGHTS, header({"m.lora_A.weight": {"shape": [257, 8]}}))],
            "rank 257",
        ),
    ],
)
async def test_what_is_refused_leaves_nothing(
    workshop: Workshop, wanted: Import, members: list[tuple[str, bytes]], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        await workshop.desk.imports.take(wanted, packed(*members))
    assert not list((workshop.folder / "checkpoints").iterdir())
    assert await workshop.desk.runs(TENANT) == []
    assert await workshop.desk.checkpoints.list(TENANT, None) == []


async def test_of_several_models_the_config_or_the_sender_names_one(workshop: Workshop, tmp_path: Path) -> None:
    archive, _ = await exported(workshop)
    desk = workshop.desk
    models = {name: Model(name, tmp_path / name, "none", "folder", CONTEXT, VOCAB) for name in ("one", "two")}
    several = Imports(workshop.database, dict.fromkeys(models, workshop.trainer), desk.checkpoints, Limits(models))
    with pytest.raises(BadInput, match="one, two"):
        await several.take(Import(TENANT, "x"), archive)
    archive.seek(0)
    path = await several.take(Import(TENANT, "x", "two"), archive)
    assert (await desk.checkpoints.find(TENANT, str(path))).base_model == "two"
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        parts = {name: tar.extractfile(name) for name in FILES}
        content = {name: part.read() for name, part in parts.items() if part}
    content[CONFIG] = json.dumps(json.loads(content[CONFIG]) | {"base_model_name_or_path": "one"}).encode()
    path = await several.take(Import(TENANT, "x"), packed(*content.items()))
    assert (await desk.checkpoints.find(TENANT, str(path))).base_model == "one"
