"""A memory for tests: a token is a word or a mark, so that a figure can be told by eye."""

import asyncio
import re
from collections.abc import Callable, Sequence

import pytest

from anubhav.memory.cut import Said
from anubhav.memory.keeper import Keeper
from anubhav.memory.scoring import FIXED
from anubhav.types.memory import Decision, Memory

Talk = Callable[..., tuple[Memory, list[Decision]]]


def count(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]|\n", text))


def hear(
    turns: Sequence[Said], budget: int, start: Memory | None = None, keeper: Keeper | None = None
) -> tuple[Memory, list[Decision]]:
    """One turn after another; the budget holds after each."""
    keeper = keeper or Keeper(count, FIXED)
    memory, ledger = start or Memory(), list[Decision]()
    for said in turns:
        memory, decided = asyncio.run(keeper.hear(memory, [said], budget))
        assert memory.tokens <= budget
        assert memory.tokens == sum(count(f"{chunk.role}: {chunk.text}\n") for chunk in memory.chunks)
        ledger += decided
    return memory, ledger


@pytest.fixture
def talk() -> Talk:
    """Lines "role: text", or only a text for a user's, heard under a budget."""

    def run(*lines: str, budget: int = 512, start: Memory | None = None) -> tuple[Memory, list[Decision]]:
        return hear([said(one) for one in lines], budget, start)

    return run


def said(one: str) -> Said:
    role, _, text = one.partition(": ")
    return Said(role, text) if role in ("user", "assistant", "tool") else Said("user", one)  # pyright: ignore
