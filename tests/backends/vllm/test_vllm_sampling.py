"""What is asked of vLLM and how its answers are read, over the double."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_double import ABORTS, BREAKS, DRAGS, FAILS, MISSES, REFUSES
from vllm_double import CONTEXT, VOCAB, Saved, Start, state

from anubhav.backends.vllm.launch import Options
from anubhav.backends.vllm.sampler import VllmSampler
from anubhav.errors import AnubhavError, BadInput, Broken, NotFound, Unavailable
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import Grammar, Sampled, SampleRequest, SamplingParams

ONE, TWO = AdapterId("ad_1"), AdapterId("ad_2")


def ask(*prompt: int, n: int = 1, **params: Any) -> SampleRequest:
    return SampleRequest(prompt or (3, 7), SamplingParams(**{"max_tokens": 6, **params}), n=n)


async def hear(sampler: VllmSampler, request: SampleRequest) -> list[Sampled]:
    return [event async for event in sampler.sample(request)]


def by_sample(events: list[Sampled]) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for event in events:
        found[event.index] = found.get(event.index, ()) + event.tokens
    return found


async def test_more_samples_than_the_engine_takes_at_once_are_the_same_in_parts(start: Start) -> None:
    sampler = start(Options(rows=4))
    whole = by_sample(await hear(sampler, ask(n=10, seed=5)))
    assert sorted(whole) == list(range(10))
    assert len(set(whole.values())) > 5
    assert sorted(body["sampling_params"]["n"] for body in state(sampler)["bodies"]) == [2, 4, 4]
    for index in range(10):
        part = replace(ask(seed=5), first_index=index)
        assert by_sample(await hear(sampler, part)) == {index: whole[index]}
    assert by_sample(await hear(sampler, ask(n=10, seed=6))) != whole


async def test_greedy_samples_are_computed_once_and_told_to_all(start: Start) -> None:
    sampler = start()
    events = await hear(sampler, ask(n=3, temperature=0.0, seed=1))
    assert len(set(by_sample(events).values())) == 1
    assert sorted(by_sample(events)) == [0, 1, 2]
    assert sum(event.stop_reason is not None for event in events) == 3
    (body,) = state(sampler)["bodies"]
    assert body["sampling_params"]["n"] == 1
    assert "seed" not in body["sampling_params"]


async def test_likeliest_tokens_are_cut_and_in_order(start: Start) -> None:
    events = await hear(start(), replace(ask(seed=1), top_logprobs=3))
    assert all([len(event.top[0]), event.top[0][0][1] == event.logprobs[0]] == [3, True] for event in events)
    assert all(list(event.top[0]) == sorted(event.top[0], key=lambda pair: -pair[1]) for event in events)


async def test_what_vllm_is_told_of_a_request(start: Start) -> None:
    sampler = start()
    request = ask(5, 6, max_tokens=500, temperature=0.5, top_p=0.0, top_k=7, seed=1, stop_tokens=(9, 11))
    await hear(sampler, replace(request, priority="training", tenant="them"))
    (body,) = state(sampler)["bodies"]
    params = body["sampling_params"]
    assert params.pop("seed") > 0
    assert params == {
        "n": 1,
        "max_tokens": CONTEXT - 2,
        "temperature": 0.5,
        "top_p": 1e-9,
        "top_k": 7,
        "logprobs": 0,
        "stop_token_ids": [9, 11],
        "ignore_eos": True,
        "detokenize": False,
    }
    assert (body["model"], body["cache_salt"], body["priority"]) == ("base", "tenant them", 2 << 32)


async def test_what_bends_a_sample_is_told_in_vllms_words(start: Start) -> None:
    sampler = start()
    await hear(sampler, ask(presence_penalty=0.5, frequency_penalty=-1.0, logit_bias=((7, 2.5), (9, -100.0))))
    (body,) = state(sampler)["bodies"]
    said = {name: body["sampling_params"].get(name) for name in ("presence_penalty", "frequency_penalty", "logit_bias")}
    assert said == {"presence_penalty": 0.5, "frequency_penalty": -1.0, "logit_bias": {"7": 2.5, "9": -100.0}}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"grammar": Grammar("regex", "a*")}, "grammar"),
        ({"presence_penalty": 2.5}, "penalties"),
        ({"frequency_penalty": -3.0}, "penalties"),
        ({"logit_bias": ((VOCAB, 1.0),)}, "logit_bias"),
    ],
)
async def test_what_vllm_would_bend_otherwise_is_refused(start: Start, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        await hear(start(), ask(**wrong))


async def test_who_has_much_under_way_lets_others_go_first(start: Start) -> None:
    sampler = start()
    first = sampler.sample(replace(ask(DRAGS, n=3, max_tokens=40), tenant="busy"))
    await anext(first)
    await hear(sampler, replace(ask(5), tenant="busy"))
    await hear(sampler, replace(ask(6), tenant="new"))
    assert [body["priority"] for body in state(sampler)["bodies"]] == [0, 3, 0]
    await first.aclose()
    assert sampler.running == 0


async def test_closing_ends_it_there_too(start: Start) -> None:
    sampler = start()
    stream = sampler.sample(ask(DRAGS, n=6, max_tokens=50))
    await anext(stream)
    assert state(sampler)["open"] == 2
    await stream.aclose()
    for _ in range(500):
        if not state(sampler)["open"]:
            break
        await asyncio.sleep(0.02)
    assert state(sampler)["open"] == 0
    assert sampler.running == 0


@pytest.mark.parametrize(
    ("first", "kind"),
    [(BREAKS, Unavailable), (ABORTS, Unavailable), (REFUSES, BadInput), (FAILS, Broken), (MISSES, NotFound)],
)
async def test_what_goes_wrong_is_told_by_its_kind(start: Start, first: int, kind: type[AnubhavError]) -> None:
    sampler = start()
    with pytest.raises(kind):
        await hear(sampler, ask(first))
    assert sampler.running == 0
    assert await hear(sampler, ask())


@pytest.mark.parametrize("temperature", [0.001, 2.5, -1.0])
async def test_temperatures_that_vllm_would_change_are_refused(start: Start, temperature: float) -> None:
    with pytest.raises(BadInput, match="temperature"):
        await hear(start(), ask(temperature=temperature))


async def test_experts_are_asked_for_in_vain(start: Start) -> None:
    with pytest.raises(BadInput, match="experts"):
        await hear(start(num_experts=4), replace(ask(), routes=True))
    assert await hear(start(), replace(ask(), routes=True)), "a model without experts has nothing to tell"


async def test_a_prompt_is_scored_in_as_few_passes_as_its_widest_position_takes(start: Start) -> None:
    sampler = start()
    everything = tuple((2, token) for token in range(VOCAB))
    request = replace(ask(3, 7, 9), prompt_logprobs=True, top_prompt_logprobs=2, prompt_targets=(*everything, (1, 5)))
    events = await hear(sampler, request)
    scores = events[0].prompt
    assert scores is not None
    assert all(event.prompt is None for event in events[1:])
    assert scores.logprobs == (None, -1.0 - 7 / 64, -1.0 - 9 / 64)
    assert scores.targets == (*(-1.0 - token / 64 for token in range(VOCAB)), -1.0 - 5 / 64)
    assert [top and len(top) for top in scores.top] == [None, 2, 2]
    passes = [body["sampling_params"] for body in state(sampler)["bodies"] if not body.get("stream")]
    assert [one["prompt_logprobs"] for one in passes] == [VOCAB, 4]


async def test_draws_along_a_prompt_are_as_many_as_asked_and_seeded(start: Start) -> None:
    sampler = start()
    request = replace(ask(3, 7, 9, seed=4), prompt_draws=6)
    first, again = [(await hear(sampler, request))[0].prompt for _ in range(2)]
    assert first is not None
    assert first == again
    assert [len(row) for row in first.draws] == [6, 6]
    other = (await hear(sampler, replace(request, params=replace(request.params, seed=5))))[0].prompt
    assert other is not None
    assert other.draws != first.draws


# Adapters


async def test_an_adapter_speaks_from_a_copy_of_its_own(start: Start, saved: Saved) -> None:
    sampler = start()
    folder = saved("one")
    await sampler.attach(ONE, folder)
    (folder / "adapter_model.safetensors").unlink()
    spoken = await hear(sampler, replace(ask(temperature=0.0), adapter=ONE))
    assert by_sample(spoken) != by_sample(await hear(sampler, ask(temperature=0.0)))
    await sampler.attach(ONE, folder)
    assert list(state(sampler)["adapters"]) == [ONE]


async def test_the_same_name_again_is_another_folder(start: Start, saved: Saved) -> None:
    """Cached keys and values are named by it."""
    sampler = start()
    await sampler.attach(ONE, saved("one"))
    (first,) = kept(sampler)
    await sampler.detach(ONE)
    assert kept(sampler) == []
    await sampler.attach(ONE, saved("other"))
    assert kept(sampler) != [first]


async def test_one_that_speaks_is_let_go_afterwards(start: Start, saved: Saved) -> None:
    sampler = start()
    await sampler.attach(ONE, saved("one"))
    request = replace(ask(DRAGS, max_tokens=5), adapter=ONE)
    stream = sampler.sample(request)
    await anext(stream)
    await sampler.detach(ONE)
    assert state(sampler)["adapters"]
    with pytest.raises(NotFound):
        await hear(sampler, request)
    assert len([event async for event in stream]) == 4
    assert (state(sampler)["adapters"], kept(sampler)) == ({}, [])


async def test_one_that_is_wanted_again_meanwhile_stays(start: Start, saved: Saved) -> None:
    sampler = start()
    await sampler.attach(ONE, saved("one"))
    stream = sampler.sample(replace(ask(DRAGS, max_tokens=5), adapter=ONE))
    await anext(stream)
    await sampler.detach(ONE)
    await sampler.attach(ONE, saved("again"))
    await stream.aclose()
    assert await hear(sampler, replace(ask(), adapter=ONE))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rank": 16}, "rank 16"),
        ({"module": "model.layers.0.mixer.in_proj"}, "in_proj"),
        ({"module": "model.embed_tokens"}, "embed_tokens"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"peft_type": "IA3"}, "plain LoRA"),
        ({"rank_pattern": {"q_proj": 64}}, "rank 64"),
        ({"odd": True}, "something odd"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_adapters_that_vllm_would_not_speak_with_are_refused_by_name(
    start: Start, saved: Saved, wrong: dict[str, Any], said: str
) -> None:
    sampler = start()
    with pytest.raises(BadInput, match=said) as problem:
        await sampler.attach(ONE, saved("wrong", **wrong))
    assert str(sampler.server.home) not in str(problem.value)
    assert (state(sampler)["adapters"], kept(sampler)) == ({}, [])
    await sampler.attach(ONE, saved("right"))
    assert await hear(sampler, replace(ask(), adapter=ONE))


async def test_a_folder_that_is_no_adapter_is_refused(start: Start, tmp_path: Path, saved: Saved) -> None:
    sampler = start()
    with pytest.raises(BadInput, match="adapter_config"):
        await sampler.attach(ONE, tmp_path / "nothing")
    damaged = saved("damaged")
    (damaged / "adapter_model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    with pytest.raises(BadInput, match="adapter_model"):
        await sampler.attach(ONE, damaged)


async def test_on_a_cpu_models_of_experts_have_no_adapters(start: Start, saved: Saved) -> None:
    with pytest.raises(BadInput, match="experts"):
        await start(n_routed_experts=4).attach(ONE, saved("one"))


def kept(sampler: VllmSampler) -> list[Path]:
    return sorted((sampler.server.home / "adapters").iterdir())
