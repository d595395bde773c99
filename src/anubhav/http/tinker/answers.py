"""What promises became, as Tinker's retrieve_future says it: protobuf for data, JSON for the rest, errors in a 200.

The SDK polls again at once on a 408 and quietly, so that is how "not yet" is said.
"""

import math
from typing import Any

from fastapi.responses import JSONResponse, Response

from anubhav.errors import AnubhavError, Broken
from anubhav.http.errors import status_of
from anubhav.http.tinker.proto import CONTENT_TYPE, write_pass, write_samples
from anubhav.serving.sessions import SampleOutcome
from anubhav.training.promises import Created, Loaded, Outcome, Saved, Stepped
from anubhav.types.training import PassResult


def pending(promise: str) -> Response:
    return JSONResponse({"type": "try_again", "request_id": promise, "queue_state": "active"}, 408)


def failed(error: AnubhavError) -> Response:
    category = "server" if status_of(error)[0] >= 500 else "user"
    return JSONResponse({"error": str(error), "category": category})


def training(outcome: Outcome, *, protobuf: bool) -> Response:
    if isinstance(outcome, AnubhavError):
        return failed(outcome)
    if isinstance(outcome, PassResult):
        return Response(write_pass(outcome), media_type=CONTENT_TYPE) if protobuf else JSONResponse(_pass(outcome))
    return JSONResponse(_plain(outcome))


def _plain(outcome: Created | Loaded | Saved | Stepped) -> dict[str, Any]:
    match outcome:
        case Created(run):
            return {"model_id": run}
        case Loaded(path):
            return {"path": path}
        case Saved(_, str(sampler)):
            return {"sampling_session_id": sampler}
        case Saved(path, _):
            return {"path": path}
        case Stepped(metrics):
            return {"metrics": {name: value for name, value in metrics.items() if math.isfinite(value)}}
    raise Broken("An operation ended in a way this face does not know")


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
        for one in outcome.samples
    ]
    scores = outcome.prompt
    prompt = {
        "prompt_logprobs": list(scores.logprobs) if scores else None,
        "topk_prompt_logprobs": list(scores.top) if scores and scores.top else None,
    }
    return JSONResponse({"type": "sample", "sequences": sequences, **prompt})
