"""What a client is started with: stand-ins on the path write down what they find."""

import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from anubhav.cli import main

MODEL = {"id": "default", "object": "model", "max_model_len": 32768}
STAND_IN = """#!/bin/sh
env > "$STAND_IN_OUT/env"
printf '%s\\n' "$@" > "$STAND_IN_OUT/arguments"
test -z "$CODEX_HOME" || cp "$CODEX_HOME/config.toml" "$STAND_IN_OUT/"
exit 7
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counter: Any) -> Path:
    """All clients are here, and leave what they saw in this folder."""
    counter.answers = {"GET /v1/models/default": (200, MODEL)}
    (tmp_path / "bin").mkdir()
    for name in ("claude", "codex", "opencode", "open-webui"):
        (tmp_path / "bin" / name).write_text(STAND_IN)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_OUT", str(tmp_path))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another server's")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path


def launch(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["launch", *arguments])


def seen(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines() if "=" in line)


def test_claude_code(installed: Path, counter: Any) -> None:
    assert launch("claude", "--", "-p", "say hello").exit_code == 7
    found = seen(installed)
    assert (found["ANTHROPIC_BASE_URL"], found["ANTHROPIC_AUTH_TOKEN"]) == (counter.url, "tml-test")
    assert found["ANTHROPIC_MODEL"] == found["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "default"
    assert "ANTHROPIC_API_KEY" not in found
    assert (installed / "arguments").read_text() == "-p\nsay hello\n"
    assert not list((installed / "home").iterdir())


def test_codex_with_a_configuration_of_its_own(installed: Path, counter: Any) -> None:
    assert launch("codex", "exec", "say hello").exit_code == 7
    config = tomllib.loads((installed / "config.toml").read_text())
    assert (config["model"], config["model_provider"]) == ("default", "anubhav")
    provider = config["model_providers"]["anubhav"]
    assert (provider["base_url"], provider["wire_api"]) == (f"{counter.url}/v1", "responses")
    found = seen(installed)
    assert found[provider["env_key"]] == "tml-test"
    assert not Path(found["CODEX_HOME"]).exists()
    assert not list((installed / "home").iterdir())


def test_opencode_and_open_webui(installed: Path, counter: Any) -> None:
    assert launch("opencode").exit_code == 7
    config = json.loads(seen(installed)["OPENCODE_CONFIG_CONTENT"])
    assert config["model"] == "anubhav/default"
    assert config["provider"]["anubhav"]["options"]["baseURL"] == f"{counter.url}/v1"
    assert config["provider"]["anubhav"]["models"]["default"]["limit"]["context"] == 32768
    assert launch("open-webui", "--port", "8080").exit_code == 7
    found = seen(installed)
    assert (found["OPENAI_API_BASE_URL"], found["OPENAI_API_KEY"]) == (f"{counter.url}/v1", "tml-test")
    assert (installed / "arguments").read_text().split() == ["serve", "--host", "127.0.0.1", "--port", "8080"]


@pytest.mark.parametrize("client", ["claude", "codex", "opencode", "open-webui"])
def test_the_printed_lines_do_the_same(installed: Path, client: str) -> None:
    printed = launch(client, "--print")
    assert printed.exit_code == 0
    assert not (installed / "env").exists()
    done = subprocess.run(["sh", "-c", printed.stdout], check=False, timeout=20)
    assert done.returncode == 7
    assert "tml-test" in (installed / "env").read_text()
    assert "another server's" not in (installed / "env").read_text() or client != "claude"


def test_a_context_that_is_too_short_is_said_plainly(installed: Path, counter: Any) -> None:
    counter.answers["GET /v1/models/default"] = (200, {**MODEL, "max_model_len": 8192})
    refused = launch("claude")
    assert refused.exit_code == 1
    assert "about 20000 tokens" in refused.output
    assert "default reads 8192" in refused.output
    assert launch("claude", "--anyway").exit_code == 7
    printed = launch("codex", "--print")
    assert printed.exit_code == 0
    assert "about 10000 tokens" in printed.stderr
    assert launch("opencode").exit_code == launch("open-webui").exit_code == 7


def test_what_is_lacking_is_said(
    installed: Path, counter: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert launch("claude", "--model", "no-such").exit_code == 1
    monkeypatch.setenv("PATH", str(tmp_path))
    lacking = launch("codex")
    assert lacking.exit_code == 1
    assert "npm install -g @openai/codex" in lacking.output
    assert launch("codex", "--url", "http://127.0.0.1:9").exit_code == 4
