"""`anubhav memory`, as typed on a terminal, against the whole house."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result
from fake_model import write_model
from loopback import Loopback, hosted

from anubhav.cli import main
from anubhav.memory.learn import Example


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("memory")
    write_model(folder / "tiny", 4096)
    with hosted(folder, 4096) as loopback:
        yield loopback


@pytest.fixture
def typed(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ANUBHAV_BASE_URL", server.url)
    monkeypatch.setenv("ANUBHAV_API_KEY", server.key)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["memory", *words], catch_exceptions=False)

    return run


def say(server: Loopback, text: str, session: str) -> str:
    asked = {
        "model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 2, "session_id": session,
        "memory": {"budget": 1000},
    }  # fmt: skip
    with httpx2.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=30) as client:
        return client.post("/v1/chat/completions", json=asked).headers["x-anubhav-memory"].partition("@")[0]


def test_a_memory_is_shown_changed_and_cleared(server: Loopback, typed: Any, tmp_path: Path) -> None:
    assert typed("list").output == "Nothing is remembered yet.\n"
    name = say(server, "My cat is called Tom. My code is 4821.", "s-1")
    assert "session:s-1" in typed("list").output
    shown = json.loads(typed("show", "session:s-1", "-f", "json").output)
    assert shown["id"] == name
    chunk = shown["chunks"][0]["id"]
    assert "My cat is called Tom." in typed("show", name).output
    assert "Felix" in typed("edit", name, chunk, "My cat is called Felix. My code is 4821.").output
    assert "pinned (client)" in typed("pin", name, chunk).output
    assert "pinned" not in typed("unpin", name, chunk).output
    assert "Call me Ann." in typed("pin", name, "--text", "Call me Ann.").output
    assert "4821" not in typed("forget", "session:s-1", "my code").output
    assert "edited" in typed("ledger", name).output
    file = tmp_path / "memory.jsonl"
    assert typed("export", name, "--to", str(file)).exit_code == 0
    kinds = [json.loads(line)["kind"] for line in file.read_text().splitlines()]
    assert {"memory", "chunk", "ledger"} == set(kinds)
    assert typed("forget", name, "--chunk", chunk).exit_code == 0
    assert f"{name} is gone" in typed("clear", name).output
    missing = typed("show", "session:s-1")
    assert (missing.exit_code, "Nothing is remembered of session:s-1" in missing.output) == (1, True)
    assert typed("show", name).exit_code == 1
    assert typed("pin", name).exit_code == typed("forget", name).exit_code == 2


def test_with_too_little_to_learn_from_it_says_how_much_there_is(typed: Any) -> None:
    few, none = typed("learn"), typed("learn", "--refiller")
    assert (few.exit_code, "0 judged replies" in few.output) == (1, True)
    assert (none.exit_code, "Memories had to shorten 0 passages" in none.output) == (1, True)


def test_what_was_learned_is_shown_and_taken_back(server: Loopback, typed: Any) -> None:
    for number in range(60):
        examples = [Example({"tool": 1.0}, 1.0), *[Example({"user": 1.0}, 0.0)] * 3]
        label = server.house.memory_policies.label("local", f"fb_{number}", f"ep_{number}", examples)
        server.run(label)
    learned = typed("learn").output
    assert "judged replies, decides from now on: ranks better: 0." in learned
    assert typed("policy").output.startswith(learned.partition(",")[0])
    assert "fixed decides now" in typed("policy", "--rollback", "--why", "to try").output
