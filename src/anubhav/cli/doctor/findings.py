"""What one look of the doctor finds."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: Literal["ok", "warn", "fail"]
    """warn: it serves, less well; fail: it would not."""
    says: str
    hint: str = ""


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
