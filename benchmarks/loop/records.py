"""What happened on a day, as every method learns from it: the questions, the replies and what was said of them.

Nothing in a record knows the truth: a method sees what the server saw.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.loop.people.task import Item, Reaction


@dataclass(frozen=True)
class Record:
    day: int
    user: str
    item: Item
    reply: str
    """The id the server gave it."""
    texts: tuple[str, ...]
    reactions: tuple[Reaction, ...]

    def feedback(self) -> list[dict[str, Any]]:
        """As POST /v1/feedback takes it."""
        return [self._worded(one) for one in self.reactions]

    def _worded(self, one: Reaction) -> dict[str, Any]:
        said: dict[str, Any] = {"target": f"{self.reply}:{one.place}", "kind": one.kind, "rater": self.user}
        if one.kind == "comparison":
            said["value"] = f"{self.reply}:{one.against}"
        elif one.kind == "thumb":
            said["value"] = int(one.value or 0)
        elif one.kind == "outcome":
            said["value"] = one.value
        if one.text is not None:
            said["text"] = one.text
        return said


@dataclass(frozen=True)
class Pair:
    """Of two replies to one question, the better and the worse."""

    item: Item
    chosen: str
    rejected: str


def corrections(records: Iterable[Record]) -> list[tuple[Item, str]]:
    """The last correction of each question counts."""
    found: dict[tuple[tuple[str, str], ...], tuple[Item, str]] = {}
    for record in records:
        for one in record.reactions:
            if one.kind == "correction" and one.text:
                found[record.item.messages] = (record.item, one.text)
    return list(found.values())


def pairs(records: Iterable[Record]) -> list[Pair]:
    """From corrections, comparisons, and replies to one question of which one is liked and another is not."""
    found: list[Pair] = []
    for record in records:
        liked = values(record)
        for one in record.reactions:
            if one.kind == "correction" and one.text and one.text != record.texts[one.place]:
                found.append(Pair(record.item, one.text, record.texts[one.place]))
            elif one.kind == "comparison" and one.against is not None:
                found.append(Pair(record.item, record.texts[one.place], record.texts[one.against]))
        if not any(one.kind == "comparison" for one in record.reactions):
            ups = [place for place, value in liked.items() if value > 0.5]
            downs = [place for place, value in liked.items() if value <= 0.5]
            found += [Pair(record.item, record.texts[a], record.texts[b]) for a, b in zip(ups, downs, strict=False)]
    return found


def values(record: Record) -> dict[int, float]:
    """The mean thumb or outcome of each reply that has one."""
    told: dict[int, list[float]] = {}
    for one in record.reactions:
        if one.kind in ("thumb", "outcome") and one.value is not None:
            told.setdefault(one.place, []).append(one.value)
    return {place: sum(all_of) / len(all_of) for place, all_of in told.items()}


def write(records: Sequence[Record], file: Path) -> None:
    with file.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)


def read(file: Path) -> list[Record]:
    return [_read(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read(said: dict[str, Any]) -> Record:
    item = said["item"]
    return Record(
        said["day"],
        said["user"],
        Item(item["task"], item["key"], tuple((role, content) for role, content in item["messages"])),
        said["reply"],
        tuple(said["texts"]),
        tuple(Reaction(**one) for one in said["reactions"]),
    )
