"""A stock Tinker SDK driving a server, whosever it is. It runs under any version of the SDK."""

import asyncio
import os
import time
from typing import Any

import tinker
from tinker import types

from benchmarks.stand import batches
from benchmarks.stand.jobs import answer_jobs
from benchmarks.stand.model import RANK

_KEPT: dict[str, Any] = {"samplers": [], "data": {}}
_STEP = 1e-5
"""Small, so that the weights stay ordinary however many steps are measured."""


def open_service(model: str) -> None:
    _KEPT["model"] = model
    _KEPT["service"] = tinker.ServiceClient(api_key=os.environ["TINKER_API_KEY"])


def create_run(rank: int = RANK) -> None:
    """LoRA on the seven linear layers of each block and not on the head, as PEFT's "all-linear" has it."""
    words = {"base_model": _KEPT["model"], "rank": rank, "train_unembed": False}
    _KEPT["run"] = _KEPT["service"].create_lora_training_client(**words)


def sft_step(lengths: list[int], number: int) -> float:
    """Seconds of one forward_backward and one optim_step, sent together."""
    data = [_document(tokens) for tokens in batches.documents(lengths, number)]
    return _step(data, "cross_entropy")


def grouped_step(shape: list[int], number: int) -> float:
    data = [_rollout(each) for group in batches.groups(*shape, number) for each in group]
    return _step(data, "importance_sampling")


def _step(data: list[types.Datum], loss: str) -> float:
    run = _KEPT["run"]
    started = time.perf_counter()
    computed = run.forward_backward(data, loss)
    stepped = run.optim_step(types.AdamParams(learning_rate=_STEP))
    computed.result()
    stepped.result()
    return time.perf_counter() - started


def _document(tokens: list[int]) -> types.Datum:
    return _datum(tokens, {"weights": [1.0] * (len(tokens) - 1)})


def _rollout(told: batches.Rollout) -> types.Datum:
    before = [0.0] * (len(told.prompt) - 1)
    columns = {
        "logprobs": before + told.logprobs,
        "advantages": before + [told.advantage] * len(told.reply),
    }
    return _datum(told.prompt + told.reply, columns)


def _datum(tokens: list[int], columns: dict[str, list[float]]) -> types.Datum:
    inputs = {
        name: types.TensorData(data=values, dtype="float32", shape=[len(values)]) for name, values in columns.items()
    }
    inputs["target_tokens"] = types.TensorData(data=tokens[1:], dtype="int64", shape=[len(tokens) - 1])
    return types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs)


def forward_only(length: int, number: int) -> float:
    """Seconds of one forward_backward of one short sequence."""
    data = [_document(tokens) for tokens in batches.documents([length], number)]
    started = time.perf_counter()
    _KEPT["run"].forward_backward(data, "cross_entropy").result()
    return time.perf_counter() - started


def optim_only() -> float:
    started = time.perf_counter()
    _KEPT["run"].optim_step(types.AdamParams(learning_rate=_STEP)).result()
    return time.perf_counter() - started


def take_base() -> None:
    """Sample from the base model from now on."""
    _KEPT["samplers"] = [_KEPT["service"].create_sampling_client(base_model=_KEPT["model"])]


def take_adapters(count: int) -> None:
    """Sample from so many different adapters, in turns: the run's weights after each of so many steps."""
    _KEPT["samplers"] = []
    for number in range(count):
        sft_step([16], number)
        _KEPT["samplers"].append(_KEPT["run"].save_weights_and_get_sampling_client(name=f"adapter-{number}"))


def sample(streams: int, prompt: int, new: int, number: int, *, ends: bool = False) -> list[float]:
    """Seconds until all of so many concurrent requests were answered, and how many tokens they brought together."""
    return asyncio.run(_sample(streams, prompt, new, number, ends=ends))


async def _sample(streams: int, prompt: int, new: int, number: int, *, ends: bool) -> list[float]:
    samplers = _KEPT["samplers"]
    # An empty list lets nothing stop a reply before its time.
    params = types.SamplingParams(max_tokens=new, temperature=1.0, seed=number, **({} if ends else {"stop": []}))
    asked = batches.prompts(streams, prompt, number)
    started = time.perf_counter()
    replies = await asyncio.gather(
        *(
            samplers[place % len(samplers)].sample_async(types.ModelInput.from_ints(tokens), 1, params)
            for place, tokens in enumerate(asked)
        )
    )
    seconds = time.perf_counter() - started
    return [seconds, sum(len(reply.sequences[0].tokens) for reply in replies)]


if __name__ == "__main__":
    jobs = (open_service, create_run, sft_step, grouped_step, forward_only, optim_only)
    answer_jobs({job.__name__: job for job in (*jobs, take_base, take_adapters, sample)})
