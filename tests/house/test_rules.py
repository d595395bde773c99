"""The rules of the house that no linter knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
GENERATED = {"wire_pb2.py"}
# Ways to run what a file or a client says; `.eval(` of a tensor library is another thing.
FORBIDDEN = re.compile(r"\b(?:pickle|cPickle|dill|marshal)\b|torch\.load\(|(?<![.\w])(?:eval|exec)\(|shell=True")
NOT_ROOMS = {
    "benchmarks", "house", "contracts", "compat", "numerics", "reliability", "examples", "flows",
    "http_anubhav", "browser",
}  # fmt: skip


@pytest.mark.parametrize("tool", [["check"], ["format", "--check"]])
def test_ruff_has_nothing_to_say(tool: list[str]) -> None:
    command = [str(Path(sys.executable).parent / "ruff"), *tool, "src", "tests", "examples", "benchmarks"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]


def test_files_are_short() -> None:
    files = [path for path in (*SOURCES, *(ROOT / "tests").rglob("*.py")) if path.name not in GENERATED]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in files}
    assert not {path: length for path, length in lengths.items() if length > 400}


def test_nothing_runs_what_a_client_sends() -> None:
    code = {path: path.read_text("utf-8") for path in SOURCES if path.name not in GENERATED}
    found = {str(path.relative_to(ROOT)): FORBIDDEN.findall(_without_strings(text)) for path, text in code.items()}
    assert not {path: words for path, words in found.items() if words}


def test_tests_lie_where_their_room_lies() -> None:
    rooms = {path.name for path in (ROOT / "src/anubhav").iterdir() if path.is_dir()}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}
    assert not folders - rooms - NOT_ROOMS


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        path
        for path in SOURCES
        if path.name not in {*GENERATED, "__init__.py"} and not path.read_text("utf-8").startswith('"""')
    ]
    assert not silent


def _without_strings(text: str) -> str:
    """The code without its docstrings, messages and comments."""
    text = re.sub(r'"""(?:.|\n)*?"""', '""', text)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"|#[^\n]*', '""', text)
