"""`anubhav serve --layout`: the unmodified SDK trains over ranks, gets what one process gets, and notices no death.

The server is another process, and what it computes is compared with a server without a layout.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
from processors import takes_two
from served import HEADERS, apart, kill, posts, served, train, weight_files
from tiny_llama import write_talking_llama

from anubhav.backends.torch.models.families import read_config
from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.writing import FORMAT
from anubhav.cluster.sharded.designs import Design, check_machine, check_model, plan_for, read_design
from anubhav.cluster.sharded.layout import check_room
from anubhav.errors import BadInput

pytestmark = pytest.mark.tinker_sdk
STEPS = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talking_llama(tmp_path_factory.mktemp("layouts") / "tiny")


Alone = Callable[[Path], tuple[list[float], Path]]


@pytest.fixture(scope="module")
def alone() -> Alone:
    """The losses of a run in one process, and the file of its weights, by model."""

    @cache
    def found(model: Path) -> tuple[list[float], Path]:
        with served(model, model.parent / "near") as url:
            losses, _ = train(url, steps=STEPS)
        (file,) = weight_files(model.parent / "near")
        return losses, file

    return found


@pytest.fixture
def planned(model: Path, tmp_path: Path) -> Path:
    """A cluster.json for the model, as `anubhav plan` writes it."""
    return write_plan(model, tmp_path / "cluster.json")


def write_plan(model: Path, file: Path, **trainer: Any) -> Path:
    config = json.loads((model / "config.json").read_text())
    sizes = {name: config[name] for name in ("architectures", "hidden_size", "num_hidden_layers")}
    usual = {
        "ranks": 2,
        "layout": {"tp": 1, "pp": 1, "ep": 1, "sp": 1, "fsdp": 2},
        "adapter": {"rank": 4, "experts": "shared_outer", "targets": "tinker"},
        "sequence": 64,
        "recompute": True,
        "placement": {"strategy": "STRICT_PACK", "bundles": [{"GPU": 2, "CPU": 2}], "ranks": [[0, 1]]},
    }
    plan = {"format": FORMAT, "model": "tiny", "architecture": sizes, "trainer": usual | trainer}
    file.write_text(json.dumps(plan))
    return file


@takes_two
def test_an_sdk_trains_over_ranks_as_in_one_process_and_a_killed_rank_is_not_noticed(
    model: Path, planned: Path, alone: Alone
) -> None:
    data = planned.parent / "far"
    losses, whole = alone(model)

    def strike(step: int) -> None:
        if step == 1:
            kill(url, "tiny trainer rank 1")

    with served(model, data, "--layout", str(planned)) as url:
        assert {name: row["alive"] for name, row in posts(url).items()} == {
            "tiny here": True,
            "tiny trainer rank 0": True,
            "tiny trainer rank 1": True,
        }
        quiet, _ = train(url, steps=STEPS)
        (first,) = weight_files(data)
        struck, path = train(url, strike, steps=STEPS)
        assert posts(url)["tiny trainer rank 0"]["term"] == 2
        body = {"model": path, "prompt": "Hi", "max_tokens": 4}
        assert httpx2.post(f"{url}/v1/completions", json=body, headers=HEADERS, timeout=60).status_code == 200
    assert quiet == pytest.approx(losses, rel=1e-5)
    assert struck == quiet
    (second,) = set(weight_files(data)) - {first}
    assert first.read_bytes() == second.read_bytes()
    assert apart(first, whole) < 1e-5


@takes_two
def test_split_matrices_train_through_the_server_as_one_process_does(model: Path, tmp_path: Path, alone: Alone) -> None:
    losses, whole = alone(model)
    with served(model, tmp_path / "far", "--layout", "tp=2") as url:
        assert {name for name in posts(url) if "rank" in name} == {"tiny trainer rank 0", "tiny trainer rank 1"}
        sharded, _ = train(url, steps=STEPS)
    (file,) = weight_files(tmp_path / "far")
    assert sharded == pytest.approx(losses, rel=1e-5)
    assert apart(file, whole) < 1e-5


def test_a_plan_says_more_than_its_layout(model: Path, planned: Path) -> None:
    design = read_design(str(planned))
    assert (design.layout, design.bundles) == (Layout(fsdp=2), (2,))
    assert check_model(design, model).layers == 2
    plan = plan_for(design, model, None, device="cpu", threads=1)
    assert (plan.kind, plan.budget, plan.recompute, plan.dtype) == ("shared_outer", 64, True, "float32")
    assert read_design("tp=2,fsdp=2") == Design(Layout(tp=2, fsdp=2))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layout": {"tp": 1}}, "does not say what it has to"),
        ({"layout": {"tp": 0, "pp": 1, "ep": 1, "sp": 1, "fsdp": 2}}, "no part of a layout"),
        ({"adapter": {"experts": "loud"}}, "does not say what it has to"),
        ({"placement": {"ranks": [[0]]}}, "1 places for 2 ranks"),
    ],
)
def test_a_plan_that_is_damaged_is_refused(model: Path, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_design(str(write_plan(model, tmp_path / "plan.json", **change)))


def test_a_plan_that_is_none_is_refused(tmp_path: Path) -> None:
    for text, says in ((None, "cannot be read"), ("{", "no JSON"), ('{"format": 1}', "no cluster.json"), ("[]", "no")):
        if text is not None:
            (tmp_path / "plan.json").write_text(text)
        with pytest.raises(BadInput, match=says) as refused:
            read_design(str(tmp_path / "plan.json"))
        assert "anubhav plan --write" in refused.value.hint


def test_a_plan_for_another_model_is_refused(folders: dict[str, Path], planned: Path) -> None:
    with pytest.raises(BadInput, match=r"another model: its architectures is .*Llama.*, and that of dense is .*Qwen3"):
        check_machine(read_design(str(planned)), folders["dense"])


def test_more_ranks_than_there_is_room_for_are_refused_with_what_fits(folders: dict[str, Path]) -> None:
    config = read_config(folders["mixture"])
    check_room(Layout(tp=2, fsdp=2), config, 4, "there are 4")
    with pytest.raises(BadInput, match=r"makes 8 ranks .* and there are 5") as refused:
        check_room(Layout(tp=2, fsdp=4, ep=8), config, 5, "there are 5")
    assert "--layout ep=4,fsdp=4" in refused.value.hint


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        ("tp=two", "no part of a layout"),
        ("tp=3", "heads are no multiple of tp 3 The nearest that works on 3 processes: fsdp=3"),
        ("fsdp=4096", "makes 4096 ranks"),
    ],
)
def test_a_server_does_not_start_with_what_cannot_be(model: Path, tmp_path: Path, layout: str, says: str) -> None:
    command = [sys.executable, "-m", "anubhav", "serve", "--port", "0", "--model", str(model), "--layout", layout]
    done = subprocess.run([*command, "--data-dir", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
