"""Whoever fills the Reader port: what an answer is to the frozen base, in a short vector."""

import pytest
from fillers import VOCAB

from anubhav.errors import BadInput
from anubhav.ports import Reader

PROMPT, ANSWER = (1, 2, 3, 4), (5, 6, 7, 8, 9)


async def test_a_reading_is_short_finite_and_of_order_one(reader: Reader) -> None:
    first, second = await reader.read([(PROMPT, ANSWER), (PROMPT, (20, 21, 22))])
    assert first.dtype == "float32" and first.shape == second.shape
    assert 8 <= len(first) <= 256
    assert max(abs(value) for value in (*first.tolist(), *second.tolist())) <= 8
    assert first.data != second.data


async def test_a_reading_is_the_same_alone_and_in_company(reader: Reader) -> None:
    alone = (await reader.read([(PROMPT, ANSWER)]))[0].tolist()
    others = [(PROMPT, (number, number + 1)) for number in range(10, 20)]
    company = (await reader.read([*others, (PROMPT, ANSWER), *others], tenant="ann"))[10].tolist()
    assert company == pytest.approx(alone, abs=1e-4)
    assert await reader.read([]) == []


async def test_long_answers_are_read_too(reader: Reader) -> None:
    long = tuple(number % VOCAB for number in range(1000))
    read = await reader.read([(long, long), (long[::-1], ()), ((), ANSWER)])
    assert len({len(one) for one in read}) == 1


@pytest.mark.parametrize("item", [((), ()), ((1,), (VOCAB,)), ((-1,), (1,))])
async def test_tokens_that_are_none_are_refused(reader: Reader, item: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(BadInput):
        await reader.read([item])
