"""Editing: what people do to a memory by hand. Nothing is done by halves: what is refused changes nothing."""

from collections.abc import Iterable
from dataclasses import replace

from anubhav.errors import BadInput, NotFound
from anubhav.memory.cut import Count, Said, cut, reword
from anubhav.memory.fitting import decide
from anubhav.memory.forgetting import find
from anubhav.memory.guarding import check_pins
from anubhav.memory.supersede import without
from anubhav.memory.words import content, stem
from anubhav.types.memory import Act, Chunk, Decision, Memory

Edited = tuple[Memory, tuple[Decision, ...]]


def edit(memory: Memory, chunk: str, text: str, budget: int, count: Count) -> Edited:
    """Another text for a chunk. Raises NotFound, and BadInput for an empty text or one that does not fit."""
    was = _find(memory, chunk)
    words = cut(Said(was.role, text, was.at, was.session), was.turn, budget, count)
    if not words:
        raise BadInput("The new text is empty", hint="To take it out of the memory, delete it.")
    # Its sentences may have been cut into several chunks; by hand it stays one.
    whole = " ".join(one.text for one in words)
    now = replace(reword(was, whole, count), statements=words[0].statements if len(words) == 1 else ())
    now = replace(now, sentences=words[0].sentences if len(words) == 1 else (), features={}, whole=now.tokens)
    return _changed(memory, was, now, "edited", budget, "edited by hand")


def pin(memory: Memory, chunk: str, *, on: bool, budget: int) -> Edited:
    """A pinned chunk is never shortened or dropped. Raises NotFound, and BadInput when pins would hold too much."""
    was = _find(memory, chunk)
    now = replace(was, pin="client" if on else "")
    return _changed(memory, was, now, "pinned" if on else "unpinned", budget, "by hand")


def add_pin(memory: Memory, text: str, at: float, budget: int, count: Count) -> Edited:
    """A pinned line of the user's that was never said. Raises BadInput when it is empty or does not fit."""
    words = cut(Said("user", text, at, pin=True), memory.turns, budget, count)
    if not words:
        raise BadInput("A pin without text says nothing", hint='Send {"text": "what is never to be forgotten"}.')
    chunks = (*memory.chunks, *words)
    after = Memory(chunks, memory.turns + 1, memory.version + 1)
    _check(after, budget)
    why = "pinned by hand"
    return after, tuple(decide(one, "pinned", memory.turns, one.tokens, "", one.text, why) for one in words)


def forget(memory: Memory, chunk: str) -> Edited:
    """Without a chunk. The ledger's line holds none of its text. Raises NotFound."""
    was = _find(memory, chunk)
    return _without(memory, {was.id: None}, "forgotten by hand")


def forget_words(memory: Memory, words: str, count: Count) -> Edited:
    """Without every sentence that speaks of these words, or repeats the numbers and names of one that does.

    Raises BadInput where the words name nothing, and NotFound where nothing speaks of them.
    """
    named = frozenset(stem(word) for word in content(f"so {words}"))
    if not named:
        raise BadInput("These words name nothing", hint='Say what to forget, such as "my address".')
    found = find(memory.chunks, named)
    if not found:
        raise NotFound("Nothing in this memory speaks of these words")
    left = {chunk.id: without(chunk, found[chunk.id], count) for chunk in memory.chunks if chunk.id in found}
    return _without(memory, left, "forgotten on request")


def _without(memory: Memory, left: dict[str, Chunk | None], why: str) -> Edited:
    gone = [chunk for chunk in memory.chunks if chunk.id in left]
    decided = tuple(decide(chunk, "deleted", memory.turns, 0, "", "", why) for chunk in gone)
    return _with(memory, (left.get(chunk.id, chunk) for chunk in memory.chunks)), decided


def _changed(memory: Memory, was: Chunk, now: Chunk, act: Act, budget: int, why: str) -> Edited:
    after = _with(memory, (now if chunk.id == was.id else chunk for chunk in memory.chunks))
    _check(after, budget)
    return after, (decide(now, act, memory.turns, now.tokens, was.text, now.text, why),)


def _with(memory: Memory, chunks: Iterable[Chunk | None]) -> Memory:
    return replace(memory, chunks=tuple(chunk for chunk in chunks if chunk), version=memory.version + 1)


def _check(memory: Memory, budget: int) -> None:
    check_pins(memory.chunks, budget)
    if memory.tokens > budget:
        raise BadInput(
            f"With this the memory would hold {memory.tokens} tokens, and its budget is {budget}",
            hint="Make the text shorter, delete something, or give it a larger budget with the next request.",
        )


def _find(memory: Memory, chunk: str) -> Chunk:
    for one in memory.chunks:
        if one.id == chunk:
            return one
    raise NotFound(f"This memory holds no chunk {chunk}", hint="GET the memory to see what it holds now.")
