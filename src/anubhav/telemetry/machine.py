"""The memory of this machine, or of the container in it."""

import os
from pathlib import Path


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
