"""LoCoMo's conversations (snap-research/locomo, CC BY-NC 4.0: for measuring only), as files of JSON, one each."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.memory.message import Message

_ADVERSARIAL = 5
"""The category of questions that have no answer; usually left out."""


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answer: str
    evidence: tuple[int, ...]
    """Numbers of the messages that the answer is in."""


@dataclass(frozen=True, slots=True)
class Conversation:
    name: str
    messages: tuple[Message, ...]
    questions: tuple[Question, ...]


def read_all(folder: Path, most: int | None = None) -> list[Conversation]:
    """In the order of their files' names. Ends the program where there is none."""
    files = sorted(folder.glob("*.json"))[:most]
    if not files:
        sys.exit(f"No *.json in {folder}: give --data the folder of LoCoMo's conversations, a file for each.")
    return [read(file) for file in files]


def read(file: Path) -> Conversation:
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    # LoCoMo's own release nests the sessions, other copies do not.
    sessions: dict[str, Any] = told.get("conversation", told)
    turns = [turn for name in _in_order(sessions) for turn in sessions[name]]
    places = {turn["dia_id"]: number for number, turn in enumerate(turns)}
    messages = tuple(Message("user", _text(turn), turn["speaker"]) for turn in turns)
    return Conversation(file.stem, messages, tuple(_questions(told["qa"], places)))


def _in_order(sessions: dict[str, Any]) -> Sequence[str]:
    names = [name for name in sessions if re.fullmatch(r"session_\d+", name)]
    return sorted(names, key=lambda name: int(name.removeprefix("session_")))


def _text(turn: dict[str, Any]) -> str:
    text = turn.get("text") or turn.get("clean_text") or ""
    return f"{text} [image: {turn['blip_caption']}]" if turn.get("blip_caption") else text


def _questions(told: Sequence[dict[str, Any]], places: dict[str, int]) -> list[Question]:
    """Those that have an answer and evidence that is in the conversation."""
    found: list[Question] = []
    for one in told:
        evidence = tuple(places[name] for name in one.get("evidence", ()) if name in places)
        if one["category"] != _ADVERSARIAL and evidence:
            found.append(Question(one["question"], str(one.get("answer", "")), evidence))
    return found
