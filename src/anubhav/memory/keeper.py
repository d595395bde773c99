"""The loop of Memory Diffusion: what is said is heard, and while there is too much, mask → allocate → refill.

The whole memory is one list of chunks under a hard budget of tokens; there is no store behind it. What a turn costs
depends on the budget and on what was said in it, never on how long the conversation has been.
(Idea: Mind Lab, "Exploring agentic memory beyond reasoning and tool use"; the algorithm is in docs/memory.md.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from anubhav.errors import BadInput
from anubhav.memory.cut import Count, Said, cut
from anubhav.memory.fitting import Fitter, decide, drop_repeated
from anubhav.memory.forgetting import asked_to_forget, find, meant, obeyed
from anubhav.memory.guarding import check_pins, hear_questions, hear_wish
from anubhav.memory.refill import Rewrite
from anubhav.memory.scoring import Look, Weigh, score
from anubhav.memory.supersede import renew, supersede, without
from anubhav.memory.words import content, facts
from anubhav.types.memory import Chunk, Decision, Memory, MemoryPolicy

SMALLEST = 64
"""Tokens: no budget below this can hold a conversation."""


@dataclass(frozen=True, slots=True)
class Keeper:
    count: Count
    policy: MemoryPolicy
    weigh: Weigh | None = None
    look: Look | None = None
    rewrite: Rewrite | None = None

    async def hear(self, memory: Memory, said: Sequence[Said], budget: int) -> tuple[Memory, tuple[Decision, ...]]:
        """The memory with what was said, within `budget` tokens, and every decision that made it so.

        Raises BadInput, and changes nothing, for a budget too small for anything or for what clients pinned.
        """
        check_budget(budget)
        news = await self._news(memory, said, budget)
        turn = memory.turns + len(said)
        chunks, deleted = _forget(memory.chunks, news, turn, self.count)
        chunks, outdated = _supersede(chunks, news, turn, self.count)
        chunks = hear_questions(chunks, news)
        check_pins(chunks, budget)
        over = sum(chunk.tokens for chunk in chunks) > budget
        looked = await self.look(chunks) if self.look and over else None
        scored = score(chunks, self.policy, turn, looked)
        fitted = await Fitter(self.count, self.policy, self.rewrite).fit(scored, budget, turn)
        after = Memory(fitted.chunks, turn, memory.version + 1)
        assert after.tokens <= budget, f"{after.tokens} tokens exceed the budget of {budget}"
        return after, (*deleted, *outdated, *fitted.decisions)

    async def _news(self, memory: Memory, said: Sequence[Said], budget: int) -> list[Chunk]:
        news: list[Chunk] = []
        for at, one in enumerate(said):
            news += [hear_wish(chunk) for chunk in cut(one, memory.turns + at, budget, self.count)]
        if self.weigh and news:
            context = " ".join(chunk.text for chunk in memory.chunks[-3:])
            weights = await self.weigh(context, [chunk.text for chunk in news])
            news = [replace(chunk, weights=found) for chunk, found in zip(news, weights, strict=True)]
        return news


def check_budget(budget: int) -> None:
    if budget < SMALLEST:
        raise BadInput(
            f"A memory of {budget} tokens is too small", hint=f"Give it a budget of at least {SMALLEST} tokens."
        )


def _forget(chunks: Sequence[Chunk], news: list[Chunk], turn: int, count: Count) -> tuple[list[Chunk], list[Decision]]:
    """Take out what the news ask to forget; `news` loses the values such a request repeats."""
    held = list(chunks)
    decided: list[Decision] = []
    for at, new in enumerate(news):
        for named in asked_to_forget(new.text) if new.role == "user" else ():
            earlier = [*held, *news[:at]]
            found = find(earlier, named, meant(new))
            values = frozenset(word for chunk in earlier if chunk.id in found for word in facts(chunk.text))
            new = obeyed(new, named, values, count, found=bool(found)) or replace(new, text="", tokens=0)
            news[at] = new
            for spoken in (held, news):
                for i, chunk in enumerate(spoken):
                    if chunk.id in found:
                        left = without(chunk, found[chunk.id], count)
                        spoken[i] = left or replace(chunk, text="", tokens=0)
                        decided.append(decide(chunk, "deleted", turn, 0, "", "", "a user asked to forget it"))
    news[:] = [chunk for chunk in news if chunk.text]
    return [chunk for chunk in held if chunk.text], decided


def _supersede(
    chunks: Sequence[Chunk], news: list[Chunk], turn: int, count: Count
) -> tuple[list[Chunk], list[Decision]]:
    """Take out what the news say otherwise; `news` loses what a later part of it corrects."""
    outdated = supersede(chunks, news, count)
    renewed = {by.id for _, by in outdated.values()}
    news[:] = [renew(chunk) if chunk.id in renewed else chunk for chunk in news]
    decided: list[Decision] = []
    for chunk in (*chunks, *news):
        if chunk.id in outdated:
            left, by = outdated[chunk.id]
            why = f"a later statement took its place: {by.text}"
            decided.append(decide(chunk, "superseded", turn, 0, chunk.text, left.text if left else "", why))
    told = [(chunk.turn, content(chunk.text)) for chunk in chunks if chunk.id in outdated]
    chunks, repeated = drop_repeated(chunks, told, turn)
    decided += repeated
    news[:] = [now for chunk in news if (now := outdated.get(chunk.id, (chunk,))[0]) is not None]
    return [now for chunk in chunks if (now := outdated.get(chunk.id, (chunk,))[0]) is not None], decided
