"""What tests of several rooms build on."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from workshop import Workshop

from anubhav.store.database import Database


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database(":memory:")
    yield database
    database.close()


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    await workshop.close()
