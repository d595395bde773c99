"""What the doctor finds of the machine: Python, memory, disk, SQLite, the port."""

import os
import platform
import shutil
import socket
import sys
from pathlib import Path

from anubhav import __version__
from anubhav.cli.doctor.findings import Finding, gigabytes
from anubhav.cli.failures import ServerRefused, Unreachable
from anubhav.cli.remote import Remote
from anubhav.store.database import find_sqlite

_OLDEST = (3, 11)
_TIGHT, _FULL = 2_000_000_000, 100_000_000
"""Free bytes of the disk."""


def python() -> Finding:
    says = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, Anubhav {__version__}"
    if sys.version_info < _OLDEST:
        return Finding("python", "fail", says, "Python 3.11 or newer is needed.")
    return Finding("python", "ok", says)


def memory() -> Finding:
    total, free = find_memory()
    says = f"{gigabytes(free)} free of {gigabytes(total)}"
    return Finding("memory", "ok" if free > 1e9 else "warn", says)


def find_memory() -> tuple[int, int]:
    """(all, free) bytes that this process may have: of the machine, or of its container if that has less."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = free = os.sysconf("SC_PHYS_PAGES") * page
    table = Path("/proc/meminfo")
    if table.exists():
        lines = dict(line.split(":", 1) for line in table.read_text("ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = (_number(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    if limit is not None and limit < total:
        total, free = limit, min(free, limit - (used or 0))
    return total, free


def _number(file: Path) -> int | None:
    """None where there is no such file, or it says `max`."""
    try:
        text = file.read_text("ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


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


def port(host: str, number: int) -> Finding:
    where = f"{host}:{number}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as problem:
            return _taken(where, problem)
    return Finding("port", "ok", f"{where} is free")


def _taken(where: str, problem: OSError) -> Finding:
    remote = Remote(f"http://{where}", "", timeout=5)
    try:
        models = remote.get("/healthz")["models"]
        return Finding("port", "ok", f"an Anubhav server answers at {where} with {', '.join(models)}")
    except (Unreachable, ServerRefused, KeyError, TypeError):
        says = f"{where} cannot be listened on ({problem.strerror or problem})"
        return Finding("port", "fail", says, "Something else is there: choose another with --port.")
    finally:
        remote.close()
