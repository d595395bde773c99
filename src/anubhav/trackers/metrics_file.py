"""metrics.jsonl: a folder for each run and lap, with what it is in config.json and a line for each row of numbers."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anubhav.trackers.naming import track_name
from anubhav.types.tracking import Track, TrackRow

FOLDER = "metrics"
"""In the data folder. It can be written again from the journal, so backups leave it out."""
FILE = "metrics.jsonl"


class MetricsFile:
    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def has(self, track: str) -> bool:
        return (self.place(track) / FILE).exists()

    def place(self, track: str) -> Path:
        return self._folder / track_name(track)

    def begin(self, track: Track) -> int:
        """The step of the last row that is there; -1 for none. A line that a crash cut short is taken away."""
        place = self.place(track.id)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = place / "config.json"
        if not config.exists():
            config.write_text(json.dumps({"id": track.id, **track.facts}, indent=2) + "\n", encoding="utf-8")
        with (place / FILE).open("a+b") as file:
            whole, last = _last_line(file)
            file.truncate(whole)
        return last

    def append(self, track: str, rows: Sequence[TrackRow]) -> None:
        text = "".join(json.dumps(_line(row), allow_nan=False) + "\n" for row in rows)
        with (self.place(track) / FILE).open("ab") as file:
            file.write(text.encode())


def _last_line(file: Any) -> tuple[int, int]:
    """How many bytes are whole lines, and the step of the last one."""
    end = at = file.seek(0, os.SEEK_END)
    tail = b""
    while at and tail.count(b"\n") < 2:
        at = max(0, at - 4096)
        file.seek(at)
        tail = file.read(end - at)
    whole, _, cut = tail.rpartition(b"\n")
    line = whole.rpartition(b"\n")[2]
    return end - len(cut), int(json.loads(line)["step"]) if line else -1


def _line(row: TrackRow) -> dict[str, Any]:
    """What is no number in JSON (nan, inf) is null."""
    metrics = {name: value if math.isfinite(value) else None for name, value in row.metrics.items()}
    place: dict[str, Any] = {"step": row.step, "kind": row.kind, "time": round(row.at, 3)}
    return place | {name: value for name, value in metrics.items() if name not in place}
