"""Lines to Postgres: connections as the store needs them, and in plain words what is wrong with a server.

Values are written into the statement (psycopg's ClientCursor), as the works leave their types open where SQLite does.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from anubhav.errors import BadInput, MissingPart, Unavailable
from anubhav.store.connection import Row

if TYPE_CHECKING:
    from psycopg import Connection, Cursor
    from psycopg.rows import RowMaker

_OLDEST = 140000
_TOLERANCE: dict[str, Any] = {
    "connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}  # fmt: skip
_SESSION = {
    "statement_timeout": 0, "lock_timeout": 0, "idle_in_transaction_session_timeout": 0,
    # The other side's of the above: the lock of a leader whose machine is gone must not stay for hours.
    "tcp_keepalives_idle": 10, "tcp_keepalives_interval": 3, "tcp_keepalives_count": 3, "tcp_user_timeout": 15_000,
}  # fmt: skip
_FOUND: Final = (
    "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), current_setting('fsync'),"
    " current_setting('synchronous_commit')"
)
_REFUSED = ("28", "3D", "42")
"""Classes of SQLSTATE: the password, the database, a right."""


class Unreached(Unavailable):
    """There is no connection now."""


def shown(url: str) -> str:
    """Where a store is, for people: without its password and what stands behind a question mark."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def connect(url: str, name: str = "anubhav") -> "Connection[Row]":
    """`name` is what Postgres lists it as. Raises what keeps it from being a store, without the password."""
    try:
        import psycopg
        from psycopg.types.string import TextLoader
    except ImportError as problem:
        raise MissingPart(
            "A store in Postgres needs psycopg", hint="Type: pip install 'anubhav[postgres]'"
        ) from problem
    try:
        line = psycopg.Connection[Row].connect(
            url, autocommit=True, application_name=name, client_encoding="UTF8", **_TOLERANCE,
            cursor_factory=cast(Any, psycopg.ClientCursor), row_factory=_rows,
        )  # fmt: skip
    except psycopg.Error as problem:
        raise _unreached(url, problem) from None  # its message may hold the whole address
    line.adapters.register_dumper(bool, _flag())
    line.adapters.register_loader("numeric", _number())
    line.adapters.register_loader("json", TextLoader)
    try:
        _check(line)
    except BaseException:
        line.close()
        raise
    return line


def is_cut(problem: BaseException) -> bool:
    """Whether an error says that the connection is gone, and nothing of what was asked."""
    import psycopg

    state: str = getattr(problem, "sqlstate", None) or ""
    lost = isinstance(problem, (psycopg.OperationalError, psycopg.InterfaceError)) and not state
    return lost or state[:2] == "08" or state[:3] == "57P"


def end_others(line: "Connection[Row]", name: str) -> None:
    """End what is left there of lost connections whose names begin so: they may hold locks, or be about to commit."""
    line.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE starts_with(application_name, %s)"
        " AND pid <> pg_backend_pid() AND datname = current_database() AND usename = current_user",
        (name,),
    )


def _check(line: "Connection[Row]") -> None:
    version, encoding, fsync, synchronous = line.execute(_FOUND).fetchone() or (0, "", "", "")
    if version < _OLDEST:
        raise BadInput(f"This is Postgres {version // 10_000}", hint="A store needs 14 or newer.")
    if encoding != "UTF8":
        raise BadInput(
            f"The database's encoding is {encoding}",
            hint="Make one with createdb --encoding=UTF8 --template=template0.",
        )
    if fsync == "off":
        raise BadInput(
            "This Postgres does not wait for its disk (fsync = off), so it would lose what was acknowledged",
            hint="Set fsync = on.",
        )
    if synchronous == "off":
        line.execute("SET synchronous_commit TO on")
    for setting, value in _SESSION.items():
        line.execute(f"SET {setting} TO {value}".encode())


def _unreached(url: str, problem: Exception) -> BadInput | Unreached:
    state: str = getattr(problem, "sqlstate", None) or ""
    said = str(problem)
    if state[:2] in _REFUSED or any(sign in said for sign in ("authentication failed", "does not exist", "no pg_hba")):
        return BadInput(
            f"Postgres lets nobody into {shown(url)} with this name and password, or has no such database",
            hint="Look at --store: postgresql://USER:PASSWORD@HOST/DATABASE.",
        )
    if type(problem).__name__ == "ProgrammingError" or "invalid" in said:
        return BadInput("--store is no address", hint="It is written postgresql://USER:PASSWORD@HOST/DATABASE.")
    return Unreached(
        f"There is no connection to Postgres at {shown(url)}", hint="Does it run, and can this machine reach it?"
    )


class _Row:
    """As sqlite3.Row: by name, by place, or one after the other."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: dict[str, int], values: Sequence[Any]) -> None:
        self._names, self._values = names, values

    def __getitem__(self, key: str | int, /) -> Any:
        return self._values[self._names[key] if isinstance(key, str) else key]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def keys(self) -> list[str]:
        return list(self._names)


def _rows(cursor: "Cursor[Any]") -> "RowMaker[Row]":
    names: dict[str, int] = {}
    for place, column in enumerate(cursor.description or ()):
        names.setdefault(column.name, place)
    make: Callable[[Sequence[Any]], Row] = lambda values: _Row(names, values)  # noqa: E731
    return make


def _flag() -> Any:
    """True and False as SQLite keeps them: 1 and 0."""
    from psycopg.adapt import Dumper

    class Flag(Dumper):
        def dump(self, obj: Any) -> bytes:
            return b"1" if obj else b"0"

    return Flag


def _number() -> Any:
    """A sum of 64-bit integers, which Postgres makes wider."""
    from psycopg.adapt import Loader

    class Number(Loader):
        def load(self, data: Any) -> int | float:
            text = bytes(data).decode()
            return float(text) if "." in text else int(text)

    return Number
