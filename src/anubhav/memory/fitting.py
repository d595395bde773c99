"""Fitting: while there is too much, mask → allocate → refill; every chunk it touches gets a line in the ledger."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anubhav.memory.allocate import Claim, allocate
from anubhav.memory.cut import Count
from anubhav.memory.guarding import loosen, window
from anubhav.memory.mask import mask
from anubhav.memory.refill import Rewrite, reworded, shorten, telegram, verify
from anubhav.memory.scoring import score
from anubhav.memory.supersede import recorded
from anubhav.memory.words import POLITE, content
from anubhav.types.memory import Act, Chunk, Decision, MemoryPolicy

_SLACK = 1 / 32
"""Of the budget, freed beyond the need, so that not every turn rewrites (a kept beginning stays in the KV cache)."""
_SMALL = 10
"""Tokens below which a chunk is not the cheaper for being short: a word that is left of something says little."""
_REWRITES = 2
"""Chunks a turn that the model may write anew: its cost stays the same for every turn."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """Chunks that fit, in the order they were said, and why."""

    chunks: tuple[Chunk, ...]
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Fitter:
    count: Count
    policy: MemoryPolicy
    rewrite: Rewrite | None = None

    async def fit(self, chunks: Sequence[Chunk], budget: int, turn: int) -> Fitting:
        """The scored chunks within `budget` tokens. What the client pinned must fit (`guarding.check_pins`)."""
        total = sum(chunk.tokens for chunk in chunks)
        if total <= budget:
            return Fitting(tuple(chunks), ())
        chunks, echoed = _drop_echoes(chunks, turn)
        total = sum(chunk.tokens for chunk in chunks)
        if total <= budget:
            return Fitting(tuple(chunks), tuple(echoed))
        loose = loosen(chunks, budget)
        decided = [
            decide(now, "unpinned", turn, now.tokens, was.text, now.text, "its kind has used up its share")
            for was, now in zip(chunks, loose, strict=True)
            if was != now
        ]
        aim = int(budget * (1 - _SLACK))
        given = self._share_out(loose, budget, total - aim)
        loose, parted = self._part([i for i, tokens in given.items() if not tokens], loose, turn)
        if parted:
            decided += parted
            given = self._share_out(loose, budget, sum(chunk.tokens for chunk in loose) - aim)
        kept, refilled = await self._refill_all(loose, given, turn)
        # The guards of the window, of wishes and of questions yield before the budget does.
        left, squeezed = self._squeeze(kept, budget, turn)
        return Fitting(tuple(left), (*echoed, *decided, *refilled, *squeezed))

    def _share_out(self, chunks: Sequence[Chunk], budget: int, need: int) -> dict[int, int]:
        """Tokens for each masked chunk, by its place."""
        guarded = window(chunks, budget, self.policy.window)
        free = [not (chunk.pin or chunk.open or chunk.id in guarded) for chunk in chunks]
        claims = [self._claim(chunk) for chunk in chunks]
        masked = mask(claims, free, [chunk.tokens for chunk in chunks], need)
        room = max(0, sum(chunks[i].tokens for i in masked) - need)
        return dict(zip(masked, allocate([claims[i] for i in masked], room), strict=True))

    def _part(self, going: Sequence[int], chunks: Sequence[Chunk], turn: int) -> tuple[Sequence[Chunk], list[Decision]]:
        """What goes and puts something on record beside other talk: only that, worth what it is worth alone."""
        apart = {i: piece for i in going if (piece := recorded(chunks[i], self.count))}
        if not apart:
            return chunks, []
        now = score([apart.get(i, chunk) for i, chunk in enumerate(chunks)], self.policy, turn)
        why = "only what it puts on record"
        decided = [
            decide(chunks[i], "compressed", turn, now[i].tokens, chunks[i].text, now[i].text, why) for i in apart
        ]
        return [now[i] if i in apart else chunk for i, chunk in enumerate(chunks)], decided

    def _claim(self, chunk: Chunk) -> Claim:
        """A masked chunk asks for all the words that carry something: with fewer it would say another thing."""
        most = min(telegram(chunk, self.count), chunk.tokens)
        return Claim(chunk.score, self.policy.stretch * max(most, _SMALL), most, most)

    async def _refill_all(
        self, chunks: Sequence[Chunk], given: dict[int, int], turn: int
    ) -> tuple[list[Chunk], list[Decision]]:
        kept: list[Chunk] = []
        decided: list[Decision] = []
        rewrites = _REWRITES if self.rewrite else 0
        for i, chunk in enumerate(chunks):
            if given.get(i, chunk.tokens) >= chunk.tokens:
                kept.append(chunk)
                continue
            written = rewrites > 0 and given[i] > 0
            rewrites -= written
            refill = self._write(chunks, i, given[i]) if written else self._take_out(chunk, given[i])
            version, why = await refill
            decided.append(_shorter(chunk, version, turn, given[i], why))
            kept += [version] if version else []
        return kept, decided

    async def _take_out(self, chunk: Chunk, budget: int) -> tuple[Chunk | None, str]:
        if not budget:
            return None, "worth less than the room it takes"
        shorter = shorten(chunk, budget, self.count)
        return shorter, "words taken out" if shorter else "nothing would be left that says something"

    async def _write(self, chunks: Sequence[Chunk], at: int, budget: int) -> tuple[Chunk | None, str]:
        assert self.rewrite
        chunk = chunks[at]
        before = chunks[at - 1].text if at else ""
        after = chunks[at + 1].text if at + 1 < len(chunks) else ""
        text = " ".join((await self.rewrite(before, chunk.text, after, budget)).split())
        version, reason = reworded(chunk, text, self.count), verify(chunk.text, text)
        if not reason and version.tokens <= min(budget, chunk.tokens - 1):
            return version, "written shorter by the model"
        shorter, why = await self._take_out(chunk, budget)
        return shorter, f"{why}; the model's version {reason or 'was too long'}"

    def _squeeze(self, chunks: list[Chunk], budget: int, turn: int) -> tuple[Iterable[Chunk], list[Decision]]:
        """Too much is guarded. The oldest and the least of it goes, save what the client pinned."""
        over = sum(chunk.tokens for chunk in chunks) - budget
        newest = max((chunk.turn for chunk in chunks), default=0)
        order = sorted(
            (chunk for chunk in chunks if chunk.pin != "client"),
            key=lambda chunk: (chunk.turn == newest, bool(chunk.pin or chunk.open), chunk.score),
        )
        left: dict[str, Chunk | None] = {chunk.id: chunk for chunk in chunks}
        decided: list[Decision] = []
        for chunk in order:
            if over <= 0:
                break
            room = max(0, chunk.tokens - over)
            version = shorten(chunk, room, self.count) if room else None
            over -= chunk.tokens - (version.tokens if version else 0)
            left[chunk.id] = version
            decided.append(_shorter(chunk, version, turn, room, "no room beside what is guarded"))
        return (chunk for chunk in left.values() if chunk), decided


def _drop_echoes(chunks: Sequence[Chunk], turn: int) -> tuple[list[Chunk], list[Decision]]:
    """Answers that only repeat what a user said just before go first, and so do not outlive it."""
    said = [(chunk.turn, content(chunk.text)) for chunk in chunks if chunk.role == "user"]
    return drop_repeated(chunks, said, turn)


def drop_repeated(
    chunks: Sequence[Chunk], said: Iterable[tuple[int, frozenset[str]]], turn: int
) -> tuple[list[Chunk], list[Decision]]:
    """Without the answers that tell nothing beyond what was said in the message before them."""
    words: dict[int, frozenset[str]] = {}
    for at, found in said:
        words[at] = words.get(at, frozenset()) | found
    kept: list[Chunk] = []
    decided: list[Decision] = []
    for chunk in chunks:
        before = words.get(chunk.turn - 1) if chunk.role == "assistant" and not chunk.pin else None
        told = content(chunk.text) - POLITE if before else frozenset[str]()
        if before and told and told <= before:
            decided.append(decide(chunk, "dropped", turn, 0, chunk.text, "", "it only repeats what was said before it"))
        else:
            kept.append(chunk)
    return kept, decided


def decide(chunk: Chunk, act: Act, turn: int, budget: int, before: str, after: str, why: str) -> Decision:
    return Decision(chunk.id, act, turn, chunk.turn, chunk.role, chunk.score, budget, before, after, why)


def _shorter(chunk: Chunk, version: Chunk | None, turn: int, budget: int, why: str) -> Decision:
    act: Act = "compressed" if version else "dropped"
    return decide(chunk, act, turn, budget, chunk.text, version.text if version else "", why)
