"""Cut: a message becomes chunks of whole sentences, its line breaks folded, so that no text can pretend to be a line.

A message longer than a memory could ever hold is heard by its beginning and its end only.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from anubhav.memory.statements import read_statements
from anubhav.memory.words import TITLES, split
from anubhav.types.chat import Role
from anubhav.types.ids import new_id
from anubhav.types.memory import Chunk

Count = Callable[[str], int]
"""Tokens of a text."""

_TITLES = "".join(rf"(?<!\b{title.capitalize()}\.)" for title in TITLES)
_SENTENCE = re.compile(rf"(?<=[.!?…।]){_TITLES}[\"'”’)\]]*\s+|\s*\n+\s*")
_WORDS = 80
"""Of a chunk, where its sentences allow it; a longer sentence is cut."""
_LETTERS_PER_TOKEN = 12
"""More letters than this for each token of the budget are never looked at."""
_HEAD = 0.75


@dataclass(frozen=True, slots=True)
class Said:
    """One message, or one result of a tool, as it came."""

    role: Role
    text: str
    at: float = 0.0
    session: str = ""
    pin: bool = False


def line(chunk: Chunk) -> str:
    """As it stands in a prompt."""
    return f"{chunk.role}: {chunk.text}"


def cost(role: Role, text: str, count: Count) -> int:
    """Tokens of a chunk's line, its end included."""
    return count(f"{role}: {text}\n")


def reword(chunk: Chunk, text: str, count: Count) -> Chunk:
    """The same chunk in other words; what was measured of the old ones is gone."""
    return replace(chunk, text=text, tokens=cost(chunk.role, text, count), weights=(), sentences=())


def cut(said: Said, turn: int, budget: int, count: Count) -> list[Chunk]:
    """The chunks of one message; none for an empty one."""
    chunks: list[Chunk] = []
    held: list[list[str]] = []
    for sentence in _sentences(_ends(said.text, budget * _LETTERS_PER_TOKEN)):
        if held and sum(map(len, held)) + len(sentence) > _WORDS:
            chunks.append(_chunk(said, turn, held, count))
            held = []
        held.append(sentence)
    return [*chunks, _chunk(said, turn, held, count)] if held else chunks


def _ends(text: str, letters: int) -> str:
    if len(text) <= letters:
        return text
    head = int(letters * _HEAD)
    return f"{text[:head]} […] {text[head - letters :]}"


def _sentences(text: str) -> list[list[str]]:
    """Words of each sentence, none longer than a chunk."""
    found: list[list[str]] = []
    for sentence in _SENTENCE.split(text):
        words = split(sentence or "")
        found += [words[at : at + _WORDS] for at in range(0, len(words), _WORDS)]
    return found


def _chunk(said: Said, turn: int, sentences: list[list[str]], count: Count) -> Chunk:
    text = " ".join(word for words in sentences for word in words)
    tokens = cost(said.role, text, count)
    told = enumerate(sentences) if said.role == "user" else ()
    return Chunk(
        new_id("ch"),
        said.role,
        text,
        tokens,
        turn,
        said.at,
        said.session,
        sentences=tuple(i for i, words in enumerate(sentences) for _ in words),
        statements=tuple(found for i, words in told for found in read_statements(i, words)),
        pin="client" if said.pin else "",
        whole=tokens,
    )
