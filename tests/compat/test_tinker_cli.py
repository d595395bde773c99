"""The unmodified `tinker` command line of SDK 0.38.0, each command a process of its own, against a server on loopback.

`checkpoint push-hf` is not here: it ends at Hugging Face. Its first half is `checkpoint download`.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import tinker
from forked_cli import Done, run
from lessons_for_tinker import LESSON, MODEL
from tinker import types

pytestmark = pytest.mark.tinker_sdk


@dataclass(frozen=True)
class Tinker:
    """`tinker <words>` for one user: a key and a home folder."""

    url: str
    key: str
    home: Path

    def __call__(self, *words: str, typed: str = "") -> Done:
        told = {
            "TINKER_BASE_URL": self.url,
            "TINKER_API_KEY": self.key,
            "HOME": str(self.home),
            "TINKER_TELEMETRY": "0",
        }
        with tempfile.TemporaryDirectory() as place:
            return run(words, told, self.home, typed, Path(place))

    def json(self, *words: str) -> Any:
        done = self("--format", "json", *words)
        assert done.returncode == 0, (words, done.stderr)
        return json.loads(done.stdout)

    def together(self, *commands: tuple[str, ...]) -> list[Done]:
        """Of what does not depend on one another."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda words: self(*words), commands))


@dataclass(frozen=True)
class Shelf:
    """What one training run left behind."""

    run: str
    session: str
    state: str
    sampler: str


@pytest.fixture(scope="module")
def shelf(tinker_server: Any) -> Iterator[Shelf]:
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as service:
        trainer = service.create_lora_training_client(MODEL, rank=4).result()
        trainer.forward_backward([LESSON], "cross_entropy").result()
        trainer.optim_step(types.AdamParams(learning_rate=0.05)).result()
        state = trainer.save_state("kept").result().path
        sampler = trainer.save_weights_for_sampler("served").result().path
        run = str(trainer.model_id)
        yield Shelf(run, run.partition(":")[0], state, sampler)


@pytest.fixture
def cli(tinker_server: Any, tmp_path: Path) -> Tinker:
    return Tinker(tinker_server.url, tinker_server.key, tmp_path)


def test_the_installed_command(cli: Tinker) -> None:
    """Started as a user does; the others are forked."""
    script = Path(sys.executable).with_name("tinker")
    done = subprocess.run([str(script), "version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "tinker 0.38.0")


def test_who_and_what_is_there(cli: Tinker, shelf: Shelf) -> None:
    commands = {
        "version": ("version",),
        "whoami": ("-f", "json", "auth", "whoami"),
        "status": ("auth", "status"),
        "models": ("-f", "json", "model", "list"),
        "one": ("-f", "json", "model", "list", "tin"),
        "none": ("model", "list", "gpt"),
        "runs": ("-f", "json", "run", "list", "--limit", "100"),
        "run": ("-f", "json", "run", "info", shelf.run),
        "table": ("run", "list"),
    }
    told = dict(zip(commands, cli.together(*commands.values()), strict=True))
    assert {name for name, done in told.items() if done.returncode} == {"none"}, told
    assert told["version"].stdout.strip() == "tinker 0.38.0"
    assert json.loads(told["whoami"].stdout) == {
        "user_urn": "tml:user:local",
        "org_urn": "tml:organization:local",
        "email": None,
    }
    assert "Tinker accessible: yes" in told["status"].stdout
    for name in ("models", "one"):
        assert [model["model_name"] for model in json.loads(told[name].stdout)["models"]] == [MODEL]
    assert "tml:organization:local" in told["none"].stderr
    assert shelf.run in told["runs"].stdout
    assert shelf.run in told["run"].stdout
    assert json.loads(told["runs"].stdout)
    assert json.loads(told["run"].stdout)["lora_rank"] == 4


def test_checkpoints_are_listed_and_described(cli: Tinker, shelf: Shelf) -> None:
    commands = [
        ("-f", "json", "checkpoint", "list", "--run-id", shelf.run),
        ("-f", "json", "checkpoint", "list", "--limit", "500"),
        ("-f", "json", "checkpoint", "info", shelf.state),
    ]
    of_run, of_user, info = (json.loads(done.stdout) for done in cli.together(*commands))
    assert {one["tinker_path"] for one in of_run["checkpoints"]} == {shelf.state, shelf.sampler}
    assert {shelf.state, shelf.sampler} <= {one["tinker_path"] for one in of_user["checkpoints"]}
    assert (info["tinker_path"], info["lora_rank"]) == (shelf.state, 4)


def test_a_checkpoint_is_shared_and_given_an_end(cli: Tinker, shelf: Shelf) -> None:
    def info() -> dict[str, Any]:
        return cli.json("checkpoint", "info", shelf.sampler)

    assert cli("checkpoint", "publish", shelf.sampler).returncode == 0
    assert info()["public"] is True
    assert cli("checkpoint", "unpublish", shelf.sampler).returncode == 0
    assert cli("checkpoint", "set-ttl", shelf.sampler, "--ttl", "7200").returncode == 0
    timed = info()
    assert timed["public"] is False
    assert timed["expires_at"] is not None
    assert cli("checkpoint", "set-ttl", shelf.sampler, "--remove").returncode == 0
    assert info()["expires_at"] is None


def test_weights_are_downloaded_and_the_passing_export_is_deleted(cli: Tinker, shelf: Shelf, tmp_path: Path) -> None:
    told = cli.json("checkpoint", "download", shelf.state, "-o", str(tmp_path / "out"))
    files = {file.name for file in Path(told["destination"]).rglob("*") if file.is_file()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= files
    (config,) = Path(told["destination"]).rglob("adapter_config.json")
    assert json.loads(config.read_text())["r"] == 4
    listed = [
        one
        for one in cli.json("checkpoint", "list", "--limit", "500")["checkpoints"]
        if shelf.run in one["tinker_path"]
    ]
    assert listed
    assert not [one for one in listed if one["checkpoint_type"] == "external"]


def test_checkpoints_are_deleted(cli: Tinker, tinker_server: Any) -> None:
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as service:
        trainer = service.create_lora_training_client(MODEL, rank=4).result()
        paths = [trainer.save_state(name).result().path for name in ("a", "b", "c")]
        assert cli("checkpoint", "delete", "-y", paths[0]).returncode == 0
        # Its exit code is 0 also for what it could not delete.
        assert "There is no checkpoint" in cli("checkpoint", "delete", "-y", paths[0]).stdout
        run = ("--run-id", str(trainer.model_id))
        assert len(cli.json("checkpoint", "list", *run)["checkpoints"]) == 2
        assert cli("checkpoint", "delete", "-y", *run, "--type", "weights").returncode == 0
        assert cli.json("checkpoint", "list", *run)["checkpoints"] == []


def test_usage_and_traces(cli: Tinker, shelf: Shelf, tmp_path: Path) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    span = ((hour - timedelta(hours=1)).isoformat(), (hour + timedelta(hours=1)).isoformat())
    used, stored, csv, trace, address = cli.together(
        ("-f", "json", "billing", "usage", *span),
        ("-f", "json", "billing", "checkpoint-storage"),
        ("billing", "usage", *span, "--csv", "usage.csv", "--sessions-csv", "sessions.csv"),
        ("session", "export-trace", shelf.session, "-o", "trace.pftrace"),
        ("session", "export-trace", shelf.session, "--url-only"),
    )
    assert {done.returncode for done in (used, stored, csv, trace, address)} == {0}, (used, stored, csv, trace)
    assert shelf.session in used.stdout
    assert json.loads(used.stdout)
    assert json.loads(stored.stdout)
    assert shelf.session in (tmp_path / "usage.csv").read_text()
    assert "session_id" in (tmp_path / "sessions.csv").read_text()
    assert json.loads((tmp_path / "trace.pftrace").read_text())["traceEvents"]
    assert address.stdout.startswith("http")


def test_what_fails_exits_with_1_and_our_reason(cli: Tinker, shelf: Shelf) -> None:
    cases: dict[tuple[str, ...], str] = {
        ("run", "info", "no-such-run"): "There is no training run no-such-run",
        ("checkpoint", "list", "--run-id", "no-such-run"): "There is no training run no-such-run",
        ("checkpoint", "info", shelf.state.replace("kept", "lost")): "lost",
        ("checkpoint", "publish", shelf.state.replace("kept", "lost")): "There is no checkpoint",
        ("checkpoint", "set-ttl", shelf.state, "--ttl", "5"): "",
        ("checkpoint", "download", shelf.state.replace("kept", "lost")): "There is no checkpoint",
        ("session", "export-trace", "no-such-session"): "There is no session",
        ("billing", "usage", "2020-01-01", "2019-01-01"): "",
    }
    for (words, reason), done in zip(cases.items(), cli.together(*cases), strict=True):
        assert done.returncode == 1, (words, done.stdout, done.stderr)
        assert reason in done.stdout + done.stderr, (words, done.stderr)
        assert "Traceback" not in done.stderr, words


def test_a_wrong_key_is_told(cli: Tinker, tinker_server: Any, tmp_path: Path) -> None:
    stranger = Tinker(tinker_server.url, "tml-nobodys-key", tmp_path)
    for done in stranger.together(("auth", "status"), ("run", "list"), ("auth", "whoami")):
        assert done.returncode == 1
        assert "does not know the API key" in done.stdout + done.stderr, done.stderr


def test_signing_in_and_out(tinker_server: Any, tmp_path: Path) -> None:
    """With a key that is pasted, kept in the home folder and used from there."""
    key = tinker_server.add_key("paula")
    bare = Tinker(tinker_server.url, "", tmp_path)
    wrong = bare("auth", "login", typed="tml-wrong\n")
    assert wrong.returncode == 1
    assert "does not know the API key" in wrong.stderr
    entered = bare("auth", "login", typed=f"{key}\n")
    assert entered.returncode == 0, entered.stderr
    assert "(paula)" in entered.stdout
    assert bare.json("auth", "whoami")["user_urn"] == "tml:user:paula"
    assert bare("auth", "logout").returncode == 0
    assert bare("auth", "status").returncode == 1
