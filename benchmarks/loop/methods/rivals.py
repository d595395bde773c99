"""The rivals by name, each with an adapter of its own and at most as many tokens a night as our lap took."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anubhav.rendering.renderer import Renderer
from benchmarks.loop.line import Line
from benchmarks.loop.methods.direct import DirectPreference
from benchmarks.loop.methods.nightly import NightlySft
from benchmarks.loop.methods.offline import OfflineGrpo
from benchmarks.loop.methods.student import Student
from benchmarks.loop.records import Record

METHODS = {method.name: method for method in (NightlySft, DirectPreference, OfflineGrpo)}
NOTHING = "nothing"
TENANT = "rivals"


@dataclass
class Rival:
    """What it answers with so far; `path` None is the base model."""

    method: NightlySft | DirectPreference | OfflineGrpo
    key: str
    path: str | None = None

    def learn(self, day: int, records: Sequence[Record], budget: int, seed: int) -> None:
        before = self.method.student.steps
        self.method.night(records, budget, seed)
        if self.method.student.steps > before:
            self.path = self.method.student.save(f"night-{day}")

    def told(self) -> dict[str, Any]:
        student = self.method.student
        return {"about": self.method.about, "tokens": student.spent, "steps": student.steps}


def open_rivals(names: Sequence[str], line: Line, key: str, model: str, folder: Path) -> dict[str, Rival]:
    """In a tenant of their own, whose key is `key`."""
    renderer = Renderer(folder)
    return {name: Rival(METHODS[name](Student(line.url, key, model, renderer)), key) for name in names}
