"""The examples run as they are written, against a real server over the fake backend."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_model import write_model

from anubhav.cli.demo.stage import Stage, start

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("examples")
    write_model(folder / "tiny")
    with start(folder / "data", folder / "tiny") as stage:
        yield stage


def run(name: str, stage: Stage) -> str:
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": f"{stage.url}/v1",
        "OPENAI_API_KEY": stage.key,
        "TINKER_BASE_URL": stage.url,
        "TINKER_API_KEY": stage.key,
    }
    command = [sys.executable, str(EXAMPLES / name)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_teaching_with_corrections(stage: Stage) -> None:
    output = run("teach_with_corrections.py", stage)
    assert output.count("corrected:") == 3
    assert "lap: " in output
    assert "lap: failed" not in output


def test_the_tinker_loop_lowers_its_loss(stage: Stage) -> None:
    losses = [float(line.rpartition(" ")[2]) for line in run("tinker_loop.py", stage).splitlines() if "loss" in line]
    assert len(losses) == 12
    assert losses[-1] < losses[0]


def test_a_script_for_openai_fine_tuning(stage: Stage) -> None:
    output = run("openai_fine_tuning.py", stage)
    assert "Step 30/30: training loss=" in output
    assert output.count("\n  ") == 3


def test_examples_are_short() -> None:
    assert not [path.name for path in EXAMPLES.glob("*.py") if len(path.read_text("utf-8").splitlines()) > 80]
