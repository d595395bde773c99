"""Gangs of real processes, one for each layout that is asked for, kept until the session ends."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import Gangs, write_tiny
from tiny_llama import write_llama

from anubhav.cluster.sharded.layout import Layout
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


@pytest.fixture(scope="session")
def gangs(folders: dict[str, Path]) -> Iterator[Gangs]:
    """`gangs(family, layout, kind)`: a trainer, the same one for the same question."""
    with ExitStack() as open_ones:
        known: dict[tuple[str, Layout, Kind, bool], ShardedTrainer] = {}

        def find(family: str, layout: Layout, kind: Kind = "per_expert", *, recompute: bool = False) -> ShardedTrainer:
            key = (family, layout, kind, recompute)
            if key not in known:
                plan = Plan(folders[family], layout, kind, budget=48, patience=60, recompute=recompute)
                known[key] = open_ones.enter_context(closing(ShardedTrainer(plan, deadline=60)))
            return known[key]

        yield find


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
