import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_model import write_model

from anubhav import app
from anubhav.backends.torch.means import Means
from anubhav.catalog.folders import write_manifest
from anubhav.catalog.sizes import Size
from anubhav.cli import main
from anubhav.cli.doctor import parts
from anubhav.flows import health


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it finds of torch is another test's."""
    monkeypatch.setattr(app, "describe_engine", lambda: Means(2, "AVX2", True, False, (("H200", 141 * 10**9),)))
    monkeypatch.delenv("ANUBHAV_API_KEY", raising=False)


def look(folder: Path, *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    places = ["--data-dir", str(folder / "data"), "--models-dir", str(folder / "models"), "--port", str(free_port())]
    result = CliRunner().invoke(main, ["doctor", *places, "--model", str(folder / "tiny"), "-f", "json", *more])
    assert "Traceback" not in result.output
    found = json.loads(result.output)
    assert found["ok"] == (result.exit_code == 0)
    return result.exit_code, {one["check"]: one for one in found["checks"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "tiny")
    write_manifest(tmp_path / "tiny", "folder", "Apache-2.0")
    (tmp_path / "data").mkdir(mode=0o700)
    return tmp_path


def test_a_machine_that_can_serve(folder: Path) -> None:
    code, found = look(folder)
    assert code == 0
    model = found[f"model {folder / 'tiny'}"]
    assert model["state"] == "ok"
    assert "reads 512 tokens, hashes hold" in model["says"]
    assert "ms" in found["data folder"]["says"]
    assert found["kernels"]["state"] == "warn"
    assert "gcc" in found["kernels"]["hint"]
    assert found["gpu"]["says"] == "H200 with 141.0 GB"
    assert not list((folder / "data").iterdir())


def test_a_damaged_model_is_found_by_its_hash(folder: Path) -> None:
    tokenizer, weights = folder / "tiny" / "tokenizer.json", folder / "tiny" / "model.safetensors"
    tokenizer.write_bytes(tokenizer.read_bytes()[:-1] + b" ")
    code, found = look(folder)
    assert (code, found[f"model {folder / 'tiny'}"]["state"]) == (1, "fail")
    assert "tokenizer.json" in found[f"model {folder / 'tiny'}"]["says"]
    assert look(folder, "--quick")[0] == 0
    weights.write_bytes(weights.read_bytes()[:-1] + b" ")
    assert look(folder, "--quick")[0] == 1


def test_what_is_taken_lacking_or_open_to_others(folder: Path) -> None:
    (folder / "data").chmod(0o755)
    (folder / "data" / "api-key").write_text("tml-1234567890")
    (folder / "data" / "api-key").chmod(0o644)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(5)
        code, found = look(folder, "--port", str(other.getsockname()[1]), "--model", "no-such-model")
    assert code == 1
    assert found["port"]["state"] == found["model no-such-model"]["state"] == "fail"
    assert found["data folder"]["state"] == found["key"]["state"] == "warn"
    assert "1234567890" not in json.dumps(found)


def test_a_server_at_the_port_is_told(folder: Path, counter: Any) -> None:
    counter.answers = {"GET /healthz": (200, {"status": "ok", "models": ["tiny"]})}
    _, found = look(folder, "--port", counter.url.rpartition(":")[2])
    assert found["port"]["state"] == "ok"
    assert found["port"]["says"].endswith("with tiny")


def test_no_room_in_memory_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "find_memory", lambda: (0, 0))
    monkeypatch.setattr(parts, "size_of", lambda _: Size(9, 1, "x"))
    assert look(folder)[1][f"model {folder / 'tiny'}"]["state"] == "warn"


@pytest.mark.parametrize(("version", "told"), [((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False)])
def test_sqlite_in_the_range_of_the_wal_reset(monkeypatch: pytest.MonkeyPatch, version: Any, told: bool) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", version)
    assert ("WAL" in health.sqlite().says) == told


def test_a_store_that_is_not_reached_is_told_without_its_password(folder: Path) -> None:
    pytest.importorskip("psycopg")
    code, found = look(folder, "--quick", "--store", "postgresql://ann:sea-shell@127.0.0.1:1/house")
    assert (code, found["store"]["state"]) == (1, "fail")
    assert "postgresql://127.0.0.1:1/house" in found["store"]["says"]
    assert "sea-shell" not in str(found)


def test_rows_in_postgres_need_its_address(folder: Path) -> None:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "store-token").write_text("token\n")
    assert "--store" in look(folder, "--quick")[1]["store"]["hint"]


def test_it_reads_as_a_table(folder: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--quick", "--data-dir", str(folder), "--model", str(folder / "tiny")])
    assert result.output.splitlines()[0].split() == ["STATE", "CHECK", "SAYS"]
    assert "kernels: Install a C compiler" in result.output
