"""Whoever fills the Reader port: an answer to the frozen base in a short vector, its surprise, its attention."""

import asyncio
import math
from collections.abc import Sequence

import pytest
from fillers import CONTEXT, VOCAB

from anubhav.errors import BadInput
from anubhav.ports import Reader, Sampler
from anubhav.types.sampling import SampleRequest, SamplingParams

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


async def test_surprise_is_what_the_base_model_itself_would_say(reader: Reader, sampler: Sampler) -> None:
    (nats,) = await reader.surprise([(PROMPT, ANSWER)])
    request = SampleRequest((*PROMPT, *ANSWER), SamplingParams(1, seed=1), prompt_logprobs=True)
    (scores,) = [event.prompt async for event in sampler.sample(request)]
    assert scores is not None
    assert nats == pytest.approx([-(one or 0.0) for one in scores.logprobs[len(PROMPT) :]], abs=1e-4)


async def test_surprise_is_the_same_alone_and_in_company(reader: Reader) -> None:
    items = [(PROMPT, ANSWER), (PROMPT, ()), ((), ANSWER), ((), (7,)), (PROMPT, (*ANSWER, 3)), ((9, *PROMPT), ANSWER)]
    company = await reader.surprise([*items, *items[::-1]], tenant="ann")
    assert [len(nats) for nats in company] == [len(answer) for _, answer in [*items, *items[::-1]]]
    assert all(value >= 0 and math.isfinite(value) for nats in company for value in nats)
    for item, nats, again in zip(items, company, company[::-1], strict=False):
        alone = (await reader.surprise([item]))[0]
        assert nats == pytest.approx(alone, abs=1e-4) and again == pytest.approx(alone, abs=1e-4)
    assert company[4][: len(ANSWER)] == pytest.approx(company[0], abs=1e-4)
    assert await reader.surprise([]) == []


async def test_texts_beyond_the_context_have_surprise_to_the_end(reader: Reader) -> None:
    long = tuple(number * 7 % VOCAB for number in range(1000))
    (nats,) = await reader.surprise([(long[:9], long)])
    assert len(nats) == len(long) and all(0 <= value < 100 for value in nats)


async def test_attention_is_shared_out(reader: Reader) -> None:
    prompt = tuple(number % VOCAB for number in range(1, CONTEXT - 3))
    spans = [(0, 5), (5, 20), (20, len(prompt) - 4)]
    shares = await reader.attend(prompt, spans, 4, tenant="ann")
    assert len(shares) == 3 and all(share > 0 for share in shares) and sum(shares) < 1
    assert shares == pytest.approx(await reader.attend(prompt, spans, 4), abs=1e-6)
    (whole,) = await reader.attend(prompt, [(0, len(prompt) - 4)], 4)
    assert whole == pytest.approx(sum(shares), abs=1e-4)
    assert await reader.attend(prompt, [], 1) == []


@pytest.mark.parametrize("item", [((), ()), ((1,), (VOCAB,)), ((-1,), (1,))])
async def test_no_surprise_at_what_are_no_tokens(reader: Reader, item: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(BadInput):
        await reader.surprise([(PROMPT, ANSWER), item])


@pytest.mark.parametrize(
    ("prompt", "spans", "last"),
    [
        ((), [], 1),
        ((1, VOCAB), [], 1),
        (PROMPT, [], 0),
        (PROMPT, [], 5),
        (PROMPT, [(0, 3)], 2),
        (PROMPT, [(-1, 1)], 1),
        (PROMPT, [(1, 1)], 1),
        (PROMPT, [(2, 1)], 1),
    ],
)
async def test_spans_that_are_none_are_refused(
    reader: Reader, prompt: tuple[int, ...], spans: Sequence[tuple[int, int]], last: int
) -> None:
    with pytest.raises(BadInput):
        await reader.attend(prompt, spans, last)


async def test_a_stream_goes_on_while_much_is_read(reader: Reader, sampler: Sampler) -> None:
    request = SampleRequest(PROMPT, SamplingParams(40, seed=1), tenant="ann")
    items = [((number, *PROMPT), tuple((number + i * i) % VOCAB for i in range(50))) for number in range(VOCAB)] * 6
    reading = asyncio.create_task(reader.surprise(items, tenant="bob"))
    spoken = 0
    async for _ in sampler.sample(request):
        spoken += not reading.done()
    await reading
    # Which of the two ends first is the machine's affair; that words come in between is not.
    assert spoken >= 3
