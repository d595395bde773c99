"""Biases, penalties and grammars bend what every sampler draws, and never what it says of it."""

import asyncio
import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fillers import END, LETTERS, VOCAB, Filler
from test_sampler import PROMPT, PUPIL, Heard, ask, forward, hear, teach, tokens

from anubhav.errors import BadInput
from anubhav.ports import Sampler
from anubhav.types.sampling import Grammar, SampleRequest

SEEDS = range(12)
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["b", "cde"]}, "n": {"type": "integer", "minimum": -5, "maximum": 99}},
    "required": ["a", "n"],
    "additionalProperties": False,
}


def text(said: Heard) -> str:
    return "".join(LETTERS[token - 1] for token in said.tokens if token != END)


def held(kind: Any, grammar: str, **params: Any) -> SampleRequest:
    return ask(**{"grammar": Grammar(kind, grammar), "stop_tokens": (END,), "max_tokens": 24, **params})


async def many(sampler: Sampler, request: SampleRequest) -> list[Heard]:
    """One sample for each seed."""
    requests = [replace(request, params=replace(request.params, seed=seed)) for seed in SEEDS]
    return [found[0] for found, _ in await asyncio.gather(*(hear(sampler, one) for one in requests))]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_a_bias_forces_a_token(sampler: Sampler, temperature: float) -> None:
    assert await tokens(sampler, ask(seed=1, temperature=temperature, logit_bias=((30, 100.0),))) == [[30] * 8]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_a_bias_forbids_tokens(sampler: Sampler, temperature: float) -> None:
    free = await tokens(sampler, ask(seed=2, n=6, temperature=temperature))
    said = {token for one in free for token in one}
    bias = tuple((token, -100.0) for token in said)
    other = await tokens(sampler, ask(seed=2, n=6, temperature=temperature, logit_bias=bias))
    assert len(said) < VOCAB - 5
    assert said.isdisjoint(token for one in other for token in one)


async def test_a_small_bias_changes_the_odds_by_its_exponential(sampler: Sampler) -> None:
    count = 600
    request = replace(ask(seed=11, n=count, max_tokens=1), top_logprobs=VOCAB)
    plain, _ = await hear(sampler, request)
    token, logprob = plain[0].top[0][5]
    odds = math.exp(logprob) / (1 - math.exp(logprob)) * math.exp(2)
    wanted = odds / (1 + odds)
    bent, _ = await hear(sampler, replace(request, params=replace(request.params, logit_bias=((token, 2.0),))))
    share = sum(said.tokens[0] == token for said in bent.values()) / count
    assert abs(share - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / count)


async def test_penalties_change_repetition(sampler: Sampler) -> None:
    async def repeated(**penalties: float) -> int:
        said = await tokens(sampler, ask(seed=3, n=10, max_tokens=30, **penalties))
        return sum(count - 1 for one in said for count in Counter(one).values())

    free = await repeated()
    assert await repeated(frequency_penalty=2.0) < free
    assert await repeated(presence_penalty=2.0) < free
    assert await repeated(presence_penalty=-2.0, frequency_penalty=-2.0) > free


async def test_a_penalty_counts_what_was_said_and_not_the_prompt(sampler: Sampler) -> None:
    prompt = (5,) * 20
    [greedy] = await tokens(sampler, ask(prompt, temperature=0.0, max_tokens=1))
    [bent] = await tokens(sampler, ask(prompt, temperature=0.0, max_tokens=1, frequency_penalty=2.0))
    assert bent == greedy
    everything = tuple((token, 50.0) for token in range(10, 20))
    [once] = await tokens(sampler, ask(temperature=0.0, max_tokens=10, presence_penalty=2.0, logit_bias=everything))
    assert set(once) <= set(range(10, 20))
    assert len(set(once)) > 1


async def test_regular_expressions_are_obeyed(sampler: Sampler) -> None:
    for regex in (r"[a-c]{2,6}x?", r"(ab|cd)+\.", r"-?\d{1,3}(,\d{3})*", r"a*"):
        said = await many(sampler, held("regex", regex))
        assert len({tuple(one.tokens) for one in said}) > 1
        assert any(one.stop_reason == "stop" for one in said)
        for one in said:
            if one.stop_reason == "stop":
                assert one.tokens[-1] == END
                assert END not in one.tokens[:-1]
                assert re.fullmatch(regex, text(one)), text(one)
            else:
                assert len(one.tokens) == 24


async def test_a_schema_is_obeyed(sampler: Sampler) -> None:
    said = await many(sampler, held("json_schema", json.dumps(SCHEMA), max_tokens=60))
    whole = [json.loads(text(one)) for one in said if one.stop_reason == "stop"]
    assert len(whole) > 3
    for found in whole:
        assert set(found) == {"a", "n"}
        assert found["a"] in ("b", "cde")
        assert -5 <= found["n"] <= 99


async def test_a_lark_grammar_is_obeyed(sampler: Sampler) -> None:
    balanced = 'start: e\ne: "[" e "]" | "x"'
    for one in await many(sampler, held("lark", balanced)):
        if one.stop_reason == "stop":
            depth = len(one.tokens) // 2 - 1
            assert text(one) == "[" * depth + "x" + "]" * depth


async def test_greedy_is_held_too_and_takes_the_likeliest_that_may_follow(sampler: Sampler) -> None:
    request = replace(held("regex", "[k-t]{4}", temperature=0.0), top_logprobs=VOCAB)
    found, _ = await hear(sampler, request)
    said = found[0]
    assert re.fullmatch("[k-t]{4}", text(said))
    assert said.stop_reason == "stop"
    allowed = [{LETTERS.index(letter) + 1 for letter in "klmnopqrst"}] * 4 + [{END}]
    for token, top, may in zip(said.tokens, said.top, allowed, strict=True):
        assert token == next(one for one, _ in top if one in may)


async def test_without_a_stop_token_a_finished_grammar_ends_by_itself(sampler: Sampler) -> None:
    found, _ = await hear(sampler, held("regex", "abc", stop_tokens=(), seed=1))
    assert (text(found[0]), found[0].stop_reason, len(found[0].tokens)) == ("abc", "stop", 3)


async def test_a_stop_token_never_cuts_a_text_that_is_not_whole(sampler: Sampler) -> None:
    stop = LETTERS.index("b") + 1
    for one in await many(sampler, held("regex", "[ab]{3}", stop_tokens=(stop,))):
        assert text(one) == "aaab"


async def test_length_cuts_a_grammar(sampler: Sampler) -> None:
    found, _ = await hear(sampler, held("regex", "a{20}", max_tokens=7))
    assert (text(found[0]), found[0].stop_reason) == ("a" * 7, "length")


async def test_what_is_told_is_the_models_own(filler: Filler, tmp_path: Path) -> None:
    """The very tokens that were drawn under all of these, scored without any of them."""
    await teach(filler, tmp_path / "saved")
    bends: dict[str, Any] = {
        "presence_penalty": 1.5,
        "frequency_penalty": 0.5,
        "logit_bias": ((5, 3.0), (9, -100.0)),
        "grammar": Grammar("regex", "[a-j]{12}"),
    }
    request = replace(ask(seed=4, max_tokens=12, **bends), adapter=PUPIL, top_logprobs=VOCAB)
    found, _ = await hear(filler.sampler, request)
    said = found[0]
    wanted = await forward(filler, PUPIL, PROMPT + tuple(said.tokens))
    assert said.logprobs == pytest.approx(wanted[len(PROMPT) - 1 :], abs=1e-4)
    for token, logprob, top in zip(said.tokens, said.logprobs, said.top, strict=True):
        assert len(top) == VOCAB
        assert math.fsum(math.exp(value) for _, value in top) == pytest.approx(1, abs=1e-4)
        assert dict(top)[token] == pytest.approx(logprob, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.7])
async def test_at_any_temperature_it_is_the_models_own(sampler: Sampler, temperature: float) -> None:
    request = replace(ask(seed=4, temperature=temperature, logit_bias=((30, 100.0),), max_tokens=3), top_logprobs=VOCAB)
    found, _ = await hear(sampler, request)
    free, _ = await hear(sampler, replace(ask(seed=4, temperature=temperature, max_tokens=1), top_logprobs=VOCAB))
    assert found[0].tokens == [30] * 3
    assert found[0].logprobs[0] == pytest.approx(dict(free[0].top[0])[30], abs=1e-5)
    assert [dict(top)[30] for top in found[0].top] == pytest.approx(found[0].logprobs, abs=1e-5)


async def test_a_seed_fixes_bent_samples_and_company_does_not_touch_them(sampler: Sampler) -> None:
    bent = replace(held("regex", r"[a-t]{8}", seed=5, presence_penalty=1.0), n=3)
    plain = ask(n=3, seed=5)
    alone = [await tokens(sampler, bent), await tokens(sampler, plain)]
    other = held("json_schema", json.dumps(SCHEMA), seed=9)
    together = await asyncio.gather(*(tokens(sampler, one) for one in (bent, plain, other, ask(n=4))))
    assert together[:2] == alone
    parts = [replace(bent, n=1, first_index=index) for index in range(3)]
    assert [(await tokens(sampler, part))[0] for part in parts] == alone[0]


async def test_a_grammar_that_allows_everything_changes_nothing(sampler: Sampler) -> None:
    """Save for where the sample would have ended."""
    letters = (END,)
    [free] = await tokens(sampler, ask(seed=6, max_tokens=20, logit_bias=((END, -100.0),)))
    request = held("regex", r"[\s\S]*", seed=6, max_tokens=20, stop_tokens=letters, logit_bias=((END, -100.0),))
    assert await tokens(sampler, request) == [free]


async def test_what_bends_nothing_sensible_is_refused(sampler: Sampler) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"logit_bias": ((VOCAB, 1.0), (2, 1.0))}, f"logit_bias names.* {VOCAB}"),
        ({"logit_bias": ((-1, 1.0),)}, "logit_bias"),
        ({"logit_bias": ((1, math.inf),)}, "numbers"),
        ({"presence_penalty": math.nan}, "numbers"),
        ({"grammar": Grammar("regex", "(ab")}, "regular expression.*unclosed"),
        ({"grammar": Grammar("json_schema", '{"not": {"type": "string"}}')}, "JSON schema.*not"),
        ({"grammar": Grammar("json_schema", "[1]")}, "JSON schema"),
        ({"grammar": Grammar("lark", "start: nowhere")}, "nowhere"),
        ({"grammar": Grammar("regex", "ü")}, "No token"),
    ]
    for params, says in wrong:
        with pytest.raises(BadInput, match=says):
            await tokens(sampler, ask(**params))
    assert len((await tokens(sampler, ask()))[0]) == 8
