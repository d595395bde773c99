"""Pedigree: which checkpoint came from which. A run saves one after the other, and may have begun with another's."""

from collections.abc import Iterable, Iterator

from anubhav.errors import NotFound
from anubhav.store import pedigree
from anubhav.store.database import Connection, Database
from anubhav.training.journal import read_operation
from anubhav.types.checkpoints import Checkpoint, parse_path
from anubhav.types.looking import CheckpointHead, Line
from anubhav.types.operations import Load

_UP, _LINES = 12, 24


class Pedigree:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: str | None, before: int | None, limit: int) -> list[CheckpointHead]:
        """Saved last first; every tenant's when `tenant` is None."""
        return await self._database.run(lambda c: _page(c, tenant, before, limit))

    async def answering(self) -> list[tuple[str, str]]:
        """(path, alias) of everything that is live."""
        return await self._database.run(pedigree.answering)

    async def lines(self, tenant: str | None, path: str) -> list[Line]:
        """The runs that a checkpoint belongs to: its own, those it came from, those that came from it or from them.

        Each stands behind the one that it began with. Raises NotFound unless the tenant may see the checkpoint.
        """
        name = str(parse_path(path))
        found = await self._database.run(lambda c: _lines(c, tenant, name))
        if not found:
            raise NotFound(f"There is no checkpoint {name}", hint="List them: GET /v1/checkpoints.")
        return found


def _page(connection: Connection, tenant: str | None, before: int | None, limit: int) -> list[CheckpointHead]:
    rows = pedigree.page(connection, tenant, before, limit)
    born = _born(pedigree.births(connection, list({one.path.run for _, one in rows})))
    live = pedigree.answering(connection)
    return [
        CheckpointHead(
            one, position, born.get(one.path.run) or _copied(connection, one.path.run),
            tuple(alias for path, alias in live if path == str(one.path)),
        )
        for position, one in rows
    ]  # fmt: skip


def _lines(connection: Connection, tenant: str | None, path: str) -> list[Line]:
    run = str(parse_path(path).run)
    own = pedigree.of_run(connection, run)
    if not any(str(one.path) == path and (tenant in (None, one.tenant) or one.public) for one in own):
        return []
    root, seen = run, {run}
    for _ in range(_UP):
        above = _parent(connection, root)
        if above is None or (before := str(parse_path(above).run)) in seen:
            break
        root = before
        seen.add(root)
    late: dict[str, list[str]] = {}
    for child, source in _born(pedigree.late_births(connection)).items():
        late.setdefault(source, []).append(child)
    for nearer in seen - {root}:
        source = _parent(connection, nearer)
        if source and nearer not in late.setdefault(source, []):
            late[source].append(nearer)
    return list(_descend(connection, root, late, tenant))


def _descend(connection: Connection, root: str, late: dict[str, list[str]], tenant: str | None) -> Iterator[Line]:
    left, waiting, seen = _LINES, [(root, _parent(connection, root), 0)], set[str]()
    while waiting and left:
        run, source, depth = waiting.pop()
        if run in seen:
            continue
        seen.add(run)
        shown = [one for one in pedigree.of_run(connection, run) if tenant in (None, one.tenant) or one.public]
        if shown or tenant is None:
            yield Line(run, source, depth, tuple(shown))
            left -= 1
        onward = [(child, path, depth + 1) for path in _paths(shown) for child in sorted(late.get(path, ()))]
        waiting += reversed(onward)


def _paths(checkpoints: Iterable[Checkpoint]) -> list[str]:
    return [str(one.path) for one in checkpoints]


def _parent(connection: Connection, run: str) -> str | None:
    return _born(pedigree.births(connection, [run])).get(run) or _copied(connection, run)


def _copied(connection: Connection, run: str) -> str | None:
    found = pedigree.source(connection, run)
    return found if found and "://" in found else None


def _born(rows: Iterable[tuple[str, str, bytes]]) -> dict[str, str]:
    """The checkpoint that each run began with."""
    found: dict[str, str] = {}
    for run, kind, body in rows:
        operation = read_operation(kind, body)
        if isinstance(operation, Load):
            found[run] = str(parse_path(operation.path))
    return found
