"""What a work is given: a connection that speaks SQL as SQLite and Postgres both do, whichever the store is kept in."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

Values = Sequence[Any] | Mapping[str, Any]


class Row(Protocol):
    """Its values by name, by place, or one after the other."""

    def __getitem__(self, key: str | int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def keys(self) -> Sequence[str]: ...


class Rows(Protocol):
    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    def execute(self, sql: str, parameters: Values = (), /) -> Rows:
        """`?` stands for a value of a sequence, `:name` for one of a mapping."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Values], /) -> Rows: ...
