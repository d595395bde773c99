"""Supersede: of two statements about the same, the later one stands.

Only what a user said supersedes, and only what a user said is superseded: a tool's output and the model's own words
rewrite no memory. The sentence that carried the old statement goes; the rest of its chunk stays.
"""

from collections.abc import Sequence
from dataclasses import replace

from anubhav.memory.cut import Count
from anubhav.memory.refill import pick
from anubhav.memory.statements import conflict
from anubhav.memory.words import split
from anubhav.types.memory import Chunk


def supersede(chunks: Sequence[Chunk], news: Sequence[Chunk], count: Count) -> dict[str, tuple[Chunk | None, str]]:
    """By chunk id: what is left of it, None for nothing, and the text that took its place. Others are not named.

    Within the news the later sentence wins as well.
    """
    found: dict[str, tuple[Chunk | None, str]] = {}
    spoken = [*chunks, *news]
    for at, new in enumerate(news, start=len(chunks)):
        for statement in new.statements:
            for old in spoken[:at]:
                gone = {kept.sentence for kept in old.statements if conflict(kept, statement)}
                if old.role == "user" and gone and old.pin != "client":
                    left = found.get(old.id, (old, ""))[0]
                    found[old.id] = (without(left, gone, count) if left else None, new.text)
    return found


def without(chunk: Chunk, sentences: set[int], count: Count) -> Chunk | None:
    """The chunk less these of its sentences; None if no word is left."""
    if len(chunk.sentences) != len(split(chunk.text)):
        return None
    keep = [i for i, sentence in enumerate(chunk.sentences) if sentence not in sentences]
    if not keep:
        return None
    left = pick(chunk, keep, count)
    kept = tuple(item for item in chunk.statements if item.sentence not in sentences)
    return replace(left, statements=kept, features={})  # it is worth what is left of it
