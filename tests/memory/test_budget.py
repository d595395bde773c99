"""The invariant: whatever is said, the memory is within its budget after every turn."""

import asyncio
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anubhav.errors import BadInput
from anubhav.memory.allocate import Claim, allocate
from anubhav.memory.cut import Said
from anubhav.memory.keeper import Keeper
from anubhav.memory.present import HEADER, overhead, present
from anubhav.memory.scoring import FIXED
from anubhav.types.memory import Memory, MemoryPolicy
from tests.memory.conftest import Talk, count, hear

_TEXT = """my flat is in Pune the code 4821 now moved to Berlin forget please always never आप मेरा नाम राम है। ? ! .
user: assistant: <|im_end|> 🙂 3.14 Dr. O'Neil's answer in metres"""
WORDS = st.sampled_from([*_TEXT.split(), "\n\n"])
TEXTS = st.one_of(st.lists(WORDS, max_size=60).map(" ".join), st.text(max_size=300))
SAID = st.builds(
    Said,
    st.sampled_from(["user", "user", "assistant", "tool"]),
    TEXTS,
    pin=st.sampled_from([False] * 9 + [True]),
)
POLICIES = st.builds(
    MemoryPolicy,
    st.just("any"),
    st.dictionaries(st.sampled_from(sorted(FIXED.weights)), st.floats(-9, 9)),
    st.floats(0.1, 4),
    st.floats(0, 1),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(SAID, max_size=25), st.integers(64, 400), POLICIES)
def test_any_stream_stays_within_any_budget(stream: list[Said], budget: int, policy: MemoryPolicy) -> None:
    keeper, memory = Keeper(count, policy), Memory()
    for said in stream:
        try:
            memory, decided = asyncio.run(keeper.hear(memory, [said], budget))
        except BadInput as problem:
            assert said.pin, problem
            continue
        assert memory.tokens <= budget
        assert count(present(memory)) <= memory.tokens + overhead(count)
        assert [chunk.turn for chunk in memory.chunks] == sorted(chunk.turn for chunk in memory.chunks)
        assert {line.act for line in decided} <= {"compressed", "dropped", "superseded", "deleted", "unpinned"}


@settings(max_examples=60, deadline=None)
@given(st.lists(SAID, min_size=1, max_size=12), st.integers(64, 200))
def test_what_is_not_there_any_more_has_a_line_in_the_ledger(stream: list[Said], budget: int) -> None:
    stream = [Said(said.role, said.text) for said in stream]
    before, _ = hear(stream, 10**6)
    memory, ledger = hear(stream, budget)
    assert len(memory.chunks) + len({line.chunk for line in ledger}) >= len(before.chunks)
    for line in ledger:
        assert line.why
        if line.act == "dropped":
            assert line.before
            assert not line.after


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0.5, 60), st.integers(0, 20), st.integers(0, 40)), max_size=30),
    st.integers(0, 400),
)
def test_an_allocation_is_within_the_budget_and_each_claim(
    asked: list[tuple[float, float, int, int]], budget: int
) -> None:
    claims = [Claim(score, tau, min(least, most), most) for score, tau, least, most in asked]
    given_ = allocate(claims, budget)
    assert sum(given_) <= max(budget, 0) or sum(claim.most for claim in claims) <= budget
    for claim, tokens in zip(claims, given_, strict=True):
        assert tokens <= claim.most
        assert tokens == 0 or tokens >= claim.least


def test_the_allocation_is_the_optimum_of_its_formula() -> None:
    """Against a search over whole tokens, for chunks that may keep any number."""
    claims = [Claim(3.0, 8.0, 1, 20), Claim(1.0, 4.0, 1, 12), Claim(0.4, 10.0, 1, 30)]
    found = _use(claims, allocate(claims, 30))
    best = max(
        _use(claims, (a, b, 30 - a - b)) for a in range(21) for b in range(13) if 0 <= 30 - a - b <= claims[2].most
    )
    assert found == pytest.approx(best, rel=0.01)


def _use(claims: list[Claim], tokens: object) -> float:
    shares: list[int] = list(tokens)  # pyright: ignore
    return sum(claim.score * (1 - math.exp(-b / claim.tau)) for claim, b in zip(claims, shares, strict=True))


def test_a_megabyte_of_a_tools_output_is_heard_in_a_moment_and_takes_no_more_than_the_budget(talk: Talk) -> None:
    memory, _ = talk("My door code is 4821.", "user: Always call me Meera.")
    started = time.perf_counter()
    memory, _ = hear([Said("tool", "x1 = 5; " * 130_000)], 512, memory)
    assert time.perf_counter() - started < 5
    assert "4821" in present(memory)
    assert "Meera" in present(memory)


def test_one_message_longer_than_the_budget_leaves_its_beginning_or_its_end(talk: Talk) -> None:
    memory, ledger = talk("Rohan arrived on day 7. " * 200, budget=64)
    assert "Rohan" in present(memory)
    assert any(line.act in ("dropped", "compressed") for line in ledger)


def test_a_budget_too_small_for_anything_is_refused_and_says_the_smallest(talk: Talk) -> None:
    with pytest.raises(BadInput, match="at least 64"):
        talk("Hello.", budget=63)


def test_a_budget_too_small_for_what_is_pinned_is_refused_and_says_how_much_is_needed() -> None:
    memory, _ = hear([Said("user", "The patient is allergic to penicillin and to nuts. " * 8, pin=True)], 512)
    with pytest.raises(BadInput, match="at least") as problem:
        hear([Said("user", "Hello.")], 64, memory)
    assert "pinned" in problem.value.message


def test_what_a_client_pinned_survives_everything_else(talk: Talk) -> None:
    memory, _ = hear([Said("user", "The deploy window is Sunday 02:00.", pin=True)], 128)
    memory, _ = talk(*(f"Always remember that item {i} costs {i} euros." for i in range(200)), budget=128, start=memory)
    assert "The deploy window is Sunday 02:00." in present(memory)


def test_scripts_without_spaces_and_long_words_are_bounded_as_well(talk: Talk) -> None:
    memory, _ = talk("东京" * 5000, "ँ" * 5000, "a" * 5000, budget=128)
    assert memory.tokens <= 128


def test_the_time_of_a_turn_does_not_grow_with_what_was_said_before() -> None:
    lines = [Said("user", f"Room {i} of house {i * 7 % 13} was painted by Anna {i}.") for i in range(600)]
    memory, times = Memory(), list[float]()
    keeper = Keeper(count, FIXED)
    for said in lines:
        started = time.process_time()
        memory, _ = asyncio.run(keeper.hear(memory, [said], 512))
        times.append(time.process_time() - started)
    early, late = sorted(times[100:200])[50], sorted(times[500:])[50]
    assert late < 2 * early


def test_an_empty_memory_says_nothing() -> None:
    assert present(Memory()) == ""
    memory, _ = hear([Said("user", "My cat is called Tom.")], 64)
    assert present(memory) == f"{HEADER}user: My cat is called Tom.\n"
    assert present(memory, before=0) == ""
