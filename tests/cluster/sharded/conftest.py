"""Gangs of real processes, one for each layout that is asked for, kept as long as tests of this folder run.

Not longer: a rank that has nothing to do still wakes a hundred times a second for each of its groups (gloo), and some
dozens of them slow down every test that follows.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import Gangs, write_tiny
from tiny_llama import write_llama

from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded.places import Kind
from anubhav.cluster.sharded.trainer import ShardedTrainer
from anubhav.cluster.sharded.worker import Plan

sys.path.insert(0, str(Path(__file__).parents[2] / "contracts"))

from fillers import CONTEXT, VOCAB


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders by family."""
    folder = tmp_path_factory.mktemp("tiny")
    found = {family: write_tiny(family, folder) for family in ("dense", "mixture", "deepseek")}
    found["contract"] = folder / "contract"
    write_llama(found["contract"], vocab=VOCAB, context=CONTEXT, width=36, loud=0.2)
    return found


_open: dict[tuple[str, Layout, Kind, bool], ShardedTrainer] = {}


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        while _open:
            _open.popitem()[1].close()


@pytest.fixture(scope="session")
def gangs(folders: dict[str, Path]) -> Gangs:
    """`gangs(family, layout, kind)`: a trainer, the same one for the same question."""

    def find(family: str, layout: Layout, kind: Kind = "per_expert", *, recompute: bool = False) -> ShardedTrainer:
        key = (family, layout, kind, recompute)
        if key not in _open:
            plan = Plan(folders[family], layout, kind, budget=48, patience=60, recompute=recompute)
            _open[key] = ShardedTrainer(plan, deadline=60)
        return _open[key]

    return find


@pytest.fixture
def contract_trainer(request: pytest.FixtureRequest, gangs: Gangs) -> ShardedTrainer:
    """In the layout that the module names."""
    return gangs("contract", request.module.LAYOUT)


@pytest.fixture
def trainer(contract_trainer: ShardedTrainer) -> ShardedTrainer:
    """What the contract tests ask for, whose own fixture makes their adapters anew."""
    return contract_trainer


@pytest.fixture
def filler(contract_trainer: ShardedTrainer) -> Any:
    return SimpleNamespace(trainer=contract_trainer)
