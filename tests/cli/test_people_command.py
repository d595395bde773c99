"""`anubhav trace`, `episodes`, `erase` and `policy`, as typed on a terminal, against the whole house."""

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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("people")
    write_model(folder / "tiny")
    with hosted(folder) as loopback:
        yield loopback


@pytest.fixture
def typed(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ANUBHAV_BASE_URL", server.url)
    monkeypatch.setenv("ANUBHAV_API_KEY", server.key)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, list(words), catch_exceptions=False)

    return run


def corrected(server: Loopback, user: str) -> str:
    with httpx2.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
        asked = {
            "model": "default",
            "messages": [{"role": "user", "content": f"I am {user}"}],
            "max_tokens": 2,
            "user": user,
        }
        name = client.post("/v1/chat/completions", json=asked).json()["id"]
        client.post("/v1/feedback", json={"target": name, "kind": "correction", "text": f"Hello {user}"})
    return name


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_somebody_goes_from_the_server_and_from_its_files(
    server: Loopback, typed: Any, tmp_path: Path, suffix: str
) -> None:
    corrected(server, "ann")
    stays = corrected(server, "bob")
    file = tmp_path / f"rows.{suffix}"
    other = tmp_path / "notes.jsonl"
    assert "rows of dpo" in typed("episodes", "export", "--as", "dpo", "--to", str(file)).output
    typed("episodes", "export", "--as", "sft", "--to", str(other))
    other.write_text("mine now\n")

    def users() -> set[str]:
        if suffix == "parquet":
            import pyarrow.parquet as parquet

            rows = parquet.read_table(file).to_pylist()
        else:
            rows = [json.loads(line) for line in file.read_text().splitlines()]
        return {row["chosen"][0]["content"] for row in rows}

    assert users() == {"Hello ann", "Hello bob"}
    assert list(tmp_path.glob(".export-*")) == []
    said = typed("erase", "ann").output
    assert "1 episodes and 1 judgements of ann are gone" in said
    assert f"exported dpo to {file}: 1 rows taken out" in said
    assert f"exported sft to {other}: delete it by hand" in said
    assert users() == {"Hello bob"}
    assert other.read_text() == "mine now\n"
    again = json.loads(typed("erase", "ann", "-f", "json").output)
    assert (again["removed"], again["feedback"]) == ([], 0)
    assert again["exports"][0]["freed_rows"] == 0
    typed("erase", "bob")
    assert typed("trace", stays).exit_code == 1


def test_a_trace_is_a_tree(server: Loopback, typed: Any) -> None:
    name = corrected(server, "tom")
    server.run(server.house.lineage.used("lap_0", [(name, 0, None, "imitated", 3)]))
    shown = typed("trace", name).output
    assert "what came of it" in shown
    assert "imitated in batch 3: lap lap_0" in shown
    found = json.loads(typed("trace", "user:tom", "-f", "json").output)
    assert {"source": "user:tom", "to": name, "what": "was given"} in [
        edge | {"source": "user:tom"} for edge in found["onward"] if edge["to"] == name
    ]
    missing = typed("trace", "ep_none")
    assert (missing.exit_code, "no 'ep_none' to trace" in missing.output) == (1, True)


def test_a_file_is_imported_once(typed: Any, tmp_path: Path) -> None:
    talk = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    lines, document = tmp_path / "talk.jsonl", tmp_path / "talk.json"
    lines.write_text(json.dumps(talk) + "\n\n" + json.dumps(talk | {"user": "x"}) + "\n")
    document.write_text(json.dumps({"data": [talk]}, indent=2))
    assert typed("episodes", "import", str(lines)).output == "2 episodes, 0 feedback, 0 repeated, 0 skipped\n"
    assert typed("episodes", "import", str(lines)).output == "0 episodes, 0 feedback, 2 repeated, 0 skipped\n"
    assert typed("episodes", "import", str(document)).output == "0 episodes, 0 feedback, 1 repeated, 0 skipped\n"
    lines.write_text("{\n")
    broken = typed("episodes", "import", str(lines))
    assert (broken.exit_code, "Line 1" in broken.output) == (1, True)


def test_a_policy_is_shown_and_changed(typed: Any) -> None:
    assert json.loads(typed("policy", "team").output) == {
        "tenant": "team", "train": True, "keep_days": None, "patterns": [],
    }  # fmt: skip
    changed = json.loads(typed("policy", "team", "--no-train", "--keep-days", "7", "--redact", "email").output)
    assert (changed["train"], changed["keep_days"], changed["patterns"][0]["name"]) == (False, 7.0, "email")
    changed = json.loads(typed("policy", "team", "--redact", "ticket=TCK-[0-9]{4}", "--train").output)
    assert [one["name"] for one in changed["patterns"]] == ["email", "ticket"]
    assert typed("policy", "team", "--redact", "mine=(a+)+").exit_code == 1
    assert json.loads(typed("policy", "team", "--no-redact").output)["patterns"] == []


def test_parquet_without_pyarrow_says_what_to_type(typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    refused = typed("episodes", "export", "--to", str(tmp_path / "rows.parquet"))
    assert (refused.exit_code, "pip install 'anubhav[parquet]'" in refused.output) == (1, True)
    assert list(tmp_path.iterdir()) == []
