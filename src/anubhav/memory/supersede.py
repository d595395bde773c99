"""Supersede: of two statements about the same, the later one stands.

Only what a user said supersedes, and only what a user said is superseded: a tool's output and the model's own words
rewrite no memory. The sentence that carried the old statement goes; the rest of its chunk stays.
"""

from collections.abc import Sequence
from dataclasses import replace

from anubhav.memory.cut import Count
from anubhav.memory.features import describe, describe_rest
from anubhav.memory.refill import pick
from anubhav.memory.statements import conflict
from anubhav.memory.words import split
from anubhav.types.memory import Chunk


def supersede(chunks: Sequence[Chunk], news: Sequence[Chunk], count: Count) -> dict[str, tuple[Chunk | None, Chunk]]:
    """By chunk id: what is left of it, None for nothing, and what took its place. Others are not named.

    Within the news the later sentence wins as well.
    """
    found: dict[str, tuple[Chunk | None, Chunk]] = {}
    spoken = [*chunks, *news]
    for at, new in enumerate(news, start=len(chunks)):
        for statement in new.statements:
            for old in spoken[:at]:
                gone = {kept.sentence for kept in old.statements if conflict(kept, statement)}
                if old.role == "user" and gone and old.pin != "client":
                    left = found.get(old.id, (old, new))[0]
                    found[old.id] = (without(left, gone, count) if left else None, new)
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
    left = replace(left, statements=kept)
    return replace(left, features=describe_rest(left, chunk) if chunk.features else {})


def renew(chunk: Chunk) -> Chunk:
    """A chunk that took the place of another one: what was worth a correction is worth more."""
    return replace(chunk, features={**describe(chunk), "renewed": 1.0})


def recorded(chunk: Chunk, count: Count) -> Chunk | None:
    """Only the sentences of a user that put something on record; None where that is all of them, or none."""
    records = {one.sentence for one in chunk.statements if not one.about}
    others = set(chunk.sentences) - records if records else set[int]()
    return without(chunk, others, count) if others else None
