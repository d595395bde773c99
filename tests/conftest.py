"""What tests of several rooms build on."""

import gc
import os
import sys
import warnings
from asyncio import selector_events
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from throwaway_postgres import ThrowawayPostgres, throwaway_postgres
from workshop import Workshop

from anubhav.store.database import Database

# Whatever the machine says: each server that a test starts would compile all modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes depends on who else uses the machine.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


def _leave_the_loop(transport: Any, warn: Any = warnings.warn) -> None:
    """As asyncio's own, but the transport is closed after it, and its loop's selector has forgotten it.

    The Tinker SDK leaves clients to the garbage collector, which closes their sockets. In the thread of another loop,
    as a test's server has, the SDK's `__del__` then closes their transports there, whenever that loop comes to it: the
    reader goes of whichever connection has the number by then, and its request waits until its time is up.
    """
    if transport._sock is None:
        return
    transport._closing, transport._conn_lost = True, transport._conn_lost + 1
    if selector := transport._loop._selector:
        with suppress(KeyError):
            selector.unregister(transport._sock_fd)
    transport._sock.close()
    warn(f"unclosed transport {transport!r}", ResourceWarning, source=transport)


selector_events._SelectorTransport.__del__ = _leave_the_loop  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database(":memory:")
    yield database
    database.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[ThrowawayPostgres]:
    with throwaway_postgres() as server:
        yield server


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    await workshop.close()


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("tinker_sdk"):
        for kind in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
            item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """The Tinker SDK leaves its connections to the garbage collector, which complains about them.

    A hook, as the fixtures of a module's last test outlive those of the module.
    """
    done = yield
    if nextitem is None or nextitem.path != item.path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    return done


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", type=int, default=2, help="how many requests each described address is asked")
