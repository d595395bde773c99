"""Our words and those of vLLM's `/inference/v1/generate`: the only place that knows the shape of its JSON."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from anubhav.backends.vllm.inside import TARGETS, TOP
from anubhav.backends.vllm.launch import BASE
from anubhav.errors import Broken, Unavailable
from anubhav.types.sampling import Sampled, SampleRequest, SamplingParams, StopReason, TopLogprobs

GENERATE: Final = "/inference/v1/generate"
LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
_CLASSES: Final = {"interactive": 0, "rollout": 1, "training": 2}
_LEAST: Final = 1e-9
"""Of top_p, where vLLM wants more than 0: the likeliest token alone."""
_IMPOSSIBLE: Final = -9999.0
"""What vLLM says in place of minus infinity and of what is no number."""


def first_seed(params: SamplingParams) -> int:
    """Sample `index` draws with this plus `index`, which is how vLLM counts within one request too."""
    if params.seed is None:
        return int.from_bytes(os.urandom(7), "big")
    return int.from_bytes(hashlib.blake2b(f"{params.seed}".encode(), digest_size=7).digest(), "big")


def body(request: SampleRequest, *, ahead: int, **params: Any) -> dict[str, Any]:
    """A request for what `params` say. `ahead`: rows of its tenant that are under way, which lets others go first."""
    said: dict[str, Any] = {
        "model": request.adapter or BASE,
        "token_ids": request.prompt,
        "priority": (_CLASSES[request.priority] << 32) + ahead,
        "sampling_params": {"ignore_eos": True, "detokenize": False, **params},
    }
    if request.tenant:
        said["cache_salt"] = f"tenant {request.tenant}"[:1024]
    return said


def sampling(request: SampleRequest, *, seed: int, count: int, room: int, vocab: int) -> dict[str, Any]:
    """The params of `count` samples; `room` is how many tokens the context has left."""
    asked = request.params
    # vLLM names the sampled token first, and counts it among the likeliest.
    likely = min(request.top_logprobs + 1, vocab) if request.top_logprobs else 0
    said: dict[str, Any] = {
        "n": count,
        "max_tokens": min(asked.max_tokens, room),
        "temperature": asked.temperature,
        "logprobs": likely,
        "stop_token_ids": asked.stop_tokens,
    }
    if asked.temperature > 0:
        said |= {"top_p": max(asked.top_p, _LEAST), "top_k": max(asked.top_k, 0), "seed": seed}
    if asked.presence_penalty or asked.frequency_penalty:
        said |= {"presence_penalty": asked.presence_penalty, "frequency_penalty": asked.frequency_penalty}
    if asked.logit_bias:
        said["logit_bias"] = {str(token): bias for token, bias in asked.logit_bias}
    return said


def streamed(said: Mapping[str, Any]) -> dict[str, Any]:
    return {**said, "stream": True}


def scoring(top: int, targets: Sequence[tuple[int, Sequence[int]]]) -> dict[str, Any]:
    """The params of a prompt's scores: `targets` are tokens per position, at least 1."""
    width = top + max((len(tokens) for _, tokens in targets), default=0)
    asked = [[position - 1, list(tokens)] for position, tokens in targets]
    return {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": width, "extra_args": {TOP: top, TARGETS: asked}}


def events(chunk: Mapping[str, Any], request: SampleRequest) -> list[Sampled]:
    """What one chunk of a stream says; its samples are numbered from 0. Raises what it says went wrong."""
    if "error" in chunk:
        raise Unavailable("vLLM gave this sample up", hint="Repeat the request.")
    return [_event(choice, request) for choice in chunk["choices"]]


def _event(choice: Mapping[str, Any], request: SampleRequest) -> Sampled:
    ended = choice["finish_reason"]
    if ended not in (None, "stop", "length"):
        raise Unavailable(f"vLLM ended this sample early ({str(ended)[:50]})", hint="Repeat the request.")
    reason: StopReason | None = ended
    content: list[dict[str, Any]] = choice["logprobs"]["content"] or []
    if any(one["logprob"] <= _IMPOSSIBLE for one in content):
        raise Broken("vLLM computed log-probabilities that are no numbers", hint="Is the model's dtype wide enough?")
    k = request.top_logprobs
    return Sampled(
        choice["index"],
        tuple(choice["token_ids"]),
        tuple(one["logprob"] for one in content),
        tuple(_top(one["top_logprobs"], k) for one in content) if k else (),
        reason,
    )


def _top(found: Sequence[Mapping[str, Any]], k: int) -> TopLogprobs:
    pairs = [(int(one["token_id"]), float(one["logprob"])) for one in found]
    return tuple(sorted(pairs, key=lambda pair: -pair[1])[:k])


def scores(answer: Mapping[str, Any]) -> list[dict[int, float]]:
    """Of each token of a prompt but the first: what it and others have there."""
    rows: list[dict[str, dict[str, Any]]] = answer["prompt_logprobs"][1:]
    return [{int(token): float(facts["logprob"]) for token, facts in row.items()} for row in rows]


def tokens(answer: Mapping[str, Any]) -> list[list[int]]:
    """Of each sample of an answer in one piece."""
    return [choice["token_ids"] for choice in answer["choices"]]
