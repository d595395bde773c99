import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_every_room_imports_only_what_its_floor_allows() -> None:
    result = run(str(SCRIPTS / "lint-imports"))
    assert result.returncode == 0, result.stdout[-3000:]


def test_help_is_light_and_quick() -> None:
    probe = """
import json, sys, time
start = time.process_time()
from click.testing import CliRunner
from anubhav.cli import main
result = CliRunner().invoke(main, ["--help"])
print(json.dumps([result.exit_code, result.output, time.process_time() - start, sorted(sys.modules)]))
"""
    code, text, seconds, modules = json.loads(run(sys.executable, "-c", probe).stdout)
    assert code == 0
    assert all(name in text for name in ("serve", "demo", "lap", "rollback", "releases", "models", "key", "status"))
    heavy = {"torch", "fastapi", "starlette", "pydantic", "uvicorn", "sqlite3", "httpx2", "tokenizers", "numpy"}
    assert not heavy & set(modules)
    assert seconds < 0.5, f"anubhav --help took {seconds:.2f} s"
