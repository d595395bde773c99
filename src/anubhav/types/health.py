"""What an operator is told of a machine and a server: findings, and settings with where they come from."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: Literal["ok", "warn", "fail"]
    """warn: it serves, less well; fail: it would not."""
    says: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    setting: str
    value: Any
    origin: str
    """A flag, an ANUBHAV_ variable, a file, or `default`."""


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
