"""Files of exported experience, JSON lines or Parquet: written, read, and freed of somebody who was erased."""

import importlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from anubhav.errors import MissingPart


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix == ".parquet":
        yield from _arrow("pyarrow.parquet").read_table(file).to_pylist()
        return
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def write_rows(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    if file.suffix == ".parquet":
        parquet, arrow = _arrow("pyarrow.parquet"), _arrow("pyarrow")
        parquet.write_table(arrow.Table.from_pylist(list(rows)), file)
        return
    with file.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def free(file: Path, names: frozenset[str]) -> int | None:
    """Take the rows out that were made of any of these episodes or feedback; how many, None where it is no export."""
    try:
        rows = list(read_rows(file))
    except (OSError, ValueError):
        return None
    if not all("episodes" in row and "feedback" in row for row in rows):
        return None
    kept = [row for row in rows if names.isdisjoint([*row["episodes"], *row["feedback"]])]
    if len(kept) < len(rows):
        _replace(file, lambda new: write_rows(new, kept))
    return len(rows) - len(kept)


def _replace(file: Path, write: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(prefix=".export-", dir=file.parent) as work:
        new = Path(work) / file.name
        write(new)
        new.replace(file)


def _arrow(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MissingPart("Parquet needs pyarrow", hint="Type: pip install 'anubhav[parquet]'") from None
