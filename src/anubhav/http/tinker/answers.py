"""What promises became, as Tinker's retrieve_future says it: protobuf for data, JSON for the rest, errors in a 200.

The SDK polls again at once on a 408 and quietly, so that is how "not yet" is said.
"""

import math
from collections.abc import Sequence
from typing import Any

from fastapi.responses import JSONResponse, Response

from anubhav.errors import AnubhavError, Broken
from anubhav.http.errors import status_of
from anubhav.http.tinker.proto import CONTENT_TYPE, write_pass, write_samples
from anubhav.serving.asks import SampleOutcome, Targets
from anubhav.serving.sessions import Waiting
from anubhav.training.promises import Blended, Created, Loaded, Outcome, Saved, Stepped
from anubhav.training.standing import Standing
from anubhav.types.distilling import Distilled
from anubhav.types.sampling import PromptScores, TopLogprobs
from anubhav.types.training import PassResult


def pending(promise: str, waiting: Waiting | Standing) -> Response:
    """What waits for its turn is paused, which the SDK tells its user once a minute, with the reason."""
    reason = _why_sample(waiting) if isinstance(waiting, Waiting) else _why_operation(waiting)
    state = {"queue_state": "paused_capacity", "queue_state_reason": reason} if reason else {"queue_state": "active"}
    return JSONResponse({"type": "try_again", "request_id": promise, **state}, 408)


def _why_sample(waiting: Waiting) -> str | None:
    if waiting.begun:
        return None
    return (
        f"the server is busy: {waiting.ahead} of your samples came before this one, and {waiting.others} of others"
        " take turns with yours"
    )


def _why_operation(waiting: Standing) -> str | None:
    """None: nothing is in its way but what its own run does first."""
    turns = waiting.runs or (waiting.others and not waiting.begun)
    if waiting.hitch or not turns:
        return waiting.hitch
    return (
        f"the server is busy: {waiting.ahead} operations of this run come first, and {waiting.runs} of your other runs"
        f" and {waiting.others} operations of others take turns with it"
    )


def failed(error: AnubhavError) -> Response:
    category = "server" if status_of(error)[0] >= 500 else "user"
    return JSONResponse({"error": str(error), "category": category})


def training(outcome: Outcome, *, protobuf: bool) -> Response:
    if isinstance(outcome, AnubhavError):
        return failed(outcome)
    if isinstance(outcome, PassResult):
        return Response(write_pass(outcome), media_type=CONTENT_TYPE) if protobuf else JSONResponse(_pass(outcome))
    return JSONResponse(_distilled(outcome) if isinstance(outcome, Distilled) else _plain(outcome))


def _plain(outcome: Created | Loaded | Saved | Stepped | Blended) -> dict[str, Any]:
    match outcome:
        case Created(run):
            return {"model_id": run}
        case Loaded(path):
            return {"path": path}
        case Saved(_, str(sampler)):
            return {"sampling_session_id": sampler}
        case Saved(path, _):
            return {"path": path}
        case Blended(path, sources, shares):
            about = {"source_paths": list(sources), "coefficients": list(shares), "has_rank_shards": False}
            return {"path": path, "checkpoint_type": "sampler", "type": "mint_interpolate_checkpoints", **about}
        case Stepped(metrics):
            return {"metrics": {name: value for name, value in metrics.items() if math.isfinite(value)}}
    raise Broken("An operation ended in a way this face does not know")


def _distilled(told: Distilled) -> dict[str, Any]:
    outputs = [{"loss": {"data": [loss], "shape": [1], "dtype": "float32"}} for loss in told.losses]
    return {"outputs": outputs, "metrics": dict(told.metrics), "type": "mint_forward_backward_reverse_kl"}


def _pass(result: PassResult) -> dict[str, Any]:
    """For SDKs before 0.25."""
    outputs = [
        {"logprobs": {"data": values.tolist(), "dtype": values.dtype, "shape": list(values.shape)}}
        for values in result.logprobs
    ]
    return {"loss_fn_output_type": "ArrayRecord", "loss_fn_outputs": outputs, "metrics": dict(result.metrics)}


def samples(outcome: SampleOutcome | AnubhavError, *, protobuf: bool) -> Response:
    if isinstance(outcome, AnubhavError):
        return failed(outcome)
    if protobuf:
        return Response(write_samples(outcome), media_type=CONTENT_TYPE)
    sequences = [
        {"stop_reason": one.stop_reason, "tokens": list(one.tokens), "logprobs": list(one.logprobs)}
        | ({"topk_logprobs": list(one.top)} if one.top else {})
        for one in outcome.samples
    ]
    scores = outcome.prompt or PromptScores()
    prompt: dict[str, Any] = {
        "prompt_logprobs": list(scores.logprobs) or None,
        "topk_prompt_logprobs": list(scores.top) or None,
        "prompt_cache_hit_tokens": outcome.cached,
    }
    if outcome.targets:
        prompt["target_prompt_logprobs"] = _targets(outcome.targets, scores.targets)
    if scores.draws:
        prompt["prompt_alt_tokens"] = _draws(scores.draws)
    return JSONResponse({"type": "sample", "sequences": sequences, **prompt})


def _targets(targets: Targets, logprobs: Sequence[float]) -> dict[str, Any]:
    values = list(targets.fill(logprobs))
    tensor: dict[str, Any] = {"data": values, "dtype": "float32", "shape": list(targets.shape)}
    if targets.row_starts is not None and targets.columns is not None:
        tensor |= {"sparse_crow_indices": list(targets.row_starts), "sparse_col_indices": list(targets.columns)}
    return tensor


def _draws(draws: Sequence[TopLogprobs]) -> dict[str, Any]:
    shape = [len(draws), len(draws[0])]
    tokens = [token for row in draws for token, _ in row]
    logprobs = [logprob for row in draws for _, logprob in row]
    return {
        "tokens": {"data": tokens, "dtype": "int64", "shape": shape},
        "logprobs": {"data": logprobs, "dtype": "float32", "shape": shape},
    }
