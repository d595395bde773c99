"""Health: what would keep this machine from serving, or makes it serve less well. `anubhav doctor` asks the same."""

import asyncio
import os
import platform
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from anubhav import __version__
from anubhav.errors import AnubhavError
from anubhav.flows.house import House
from anubhav.store.leading import Candidate, refuse_rows_elsewhere, rows_elsewhere
from anubhav.store.lines import shown
from anubhav.store.sqlite import find_sqlite
from anubhav.telemetry.machine import find_memory
from anubhav.types.health import Finding, gigabytes

_OLDEST = (3, 11)
_TIGHT, _FULL = 2_000_000_000, 100_000_000
"""Free bytes of the disk."""
_SLOW = 0.1
"""Seconds of a write that is on the disk: every answer of the server that is kept waits for one."""


async def examine(house: House) -> list[Finding]:
    """The machine as this server has it now, and its engines."""
    found = await asyncio.to_thread(
        lambda: [python(), memory(), disk(house.data_dir), _rows(house.data_dir), data_folder(house.data_dir)]
    )
    return [*found, *[_engine(dict(row)) for row in await house.grounds.posts()]]


def _engine(row: dict[str, Any]) -> Finding:
    told = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("post", "alive"))
    name = f"engine {row['post']}"
    return Finding(name, "ok", told) if row["alive"] else Finding(name, "fail", f"does not answer; {told}")


def python() -> Finding:
    says = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, Anubhav {__version__}"
    if sys.version_info < _OLDEST:
        return Finding("python", "fail", says, "Python 3.11 or newer is needed.")
    return Finding("python", "ok", says)


def memory() -> Finding:
    total, free = find_memory()
    says = f"{gigabytes(free)} free of {gigabytes(total)}"
    return Finding("memory", "ok" if free > 1e9 else "warn", says)


def disk(folder: Path) -> Finding:
    free = shutil.disk_usage(existing(folder)).free
    state = "fail" if free < _FULL else "warn" if free < _TIGHT else "ok"
    hint = "" if state == "ok" else "Free some space, or choose another place with --data-dir."
    return Finding("disk", state, f"{gigabytes(free)} free for {folder}", hint)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def sqlite() -> Finding:
    version, delicate = find_sqlite()
    says = f"SQLite {version}"
    if delicate:
        says += ", which can damage a database in WAL mode that two connections share; the server has one, alone"
    return Finding("sqlite", "ok", says)


def _rows(folder: Path) -> Finding:
    return Finding("store", "ok", "the rows are in Postgres") if rows_elsewhere(folder) else sqlite()


def rows(folder: Path, url: str | None) -> Finding:
    """Where a server would keep its rows: in Postgres at `url`, or in SQLite."""
    try:
        if url is None:
            refuse_rows_elsewhere(folder)
            return sqlite()
        candidate = Candidate(url, folder)
    except AnubhavError as problem:
        return Finding("store", "fail", problem.message, problem.hint)
    candidate.close()
    leads = f"; {candidate.leader} leads or led last" if candidate.leader else ""
    return Finding("store", "ok", f"Postgres at {shown(url)}{leads}")


def data_folder(folder: Path) -> Finding:
    place = existing(folder)
    try:
        seconds = _write(place)
    except OSError as problem:
        says = f"{place} cannot be written to ({problem.strerror or problem})"
        return Finding("data folder", "fail", says, "Choose another with --data-dir, or make it yours.")
    says = f"{folder}{'' if place == folder else ' (made at the first start)'}: a durable write takes "
    says += f"{1000 * seconds:.1f} ms"
    if place == folder and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        return Finding("data folder", "warn", f"{says}; others may read it", f"chmod 700 {folder}")
    hint = "" if seconds < _SLOW else "Put it on a faster disk with --data-dir."
    return Finding("data folder", "warn" if hint else "ok", says, hint)


def _write(place: Path) -> float:
    """Seconds, the middle of three."""
    taken: list[float] = []
    with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as file:
        for _ in range(3):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return sorted(taken)[1]
