"""What the store's tests run on: each engine in turn."""

from collections.abc import Iterator

import pytest
from throwaway_postgres import ThrowawayPostgres

from anubhav.store.database import Database
from anubhav.store.leading import Candidate
from anubhav.store.postgres import Postgres


@pytest.fixture(scope="session")
def template(postgres: ThrowawayPostgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with the schema in it, for others to be copies of."""
    postgres.do("CREATE DATABASE schema_only")
    candidate = Candidate(postgres.url("schema_only"), tmp_path_factory.mktemp("schema"))
    assert candidate.stand("") == 1
    candidate.close()
    postgres.do("ALTER DATABASE schema_only CONNECTION LIMIT 0")
    return "schema_only"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(":memory:")
    else:
        server: ThrowawayPostgres = request.getfixturevalue("postgres")
        url = server.create(request.getfixturevalue("template"))
        database = Database(Postgres(url, 1, patience=5))
    yield database
    database.close()
