from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from anubhav.cluster.planning import plan
from anubhav.cluster.planning.probe.process import Probe, open_probe


@pytest.fixture(scope="session")
def probe() -> Iterator[Probe]:
    """One process that instantiates models, for all tests."""
    with open_probe() as probe:
        yield probe


@pytest.fixture
def planned(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are made with the process that runs already."""
    monkeypatch.setattr(plan, "open_probe", lambda: nullcontext(probe))
