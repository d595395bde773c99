"""The JSON form of data: passes as SDKs before 0.25 send them, and prompts as all of them do; and which SDK is asking,
as older ones refuse answers with words that are new to them.
"""

import re

from fastapi import Request
from pydantic import ValidationError

from anubhav.errors import BadInput
from anubhav.http.tinker import bodies, proto
from anubhav.http.tinker.tensors import read_values
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.training import Datum, Pass

_VERSION = re.compile(r"(\d+)\.(\d+)\b")


def is_older(request: Request, major: int, minor: int) -> bool:
    """Whether an SDK older than that is asking. Who names no version is not."""
    found = _VERSION.match(request.headers.get("x-stainless-package-version", ""))
    return found is not None and (int(found[1]), int(found[2])) < (major, minor)


def read_pass(body: bytes, *, backward: bool) -> proto.Addressed:
    """Raises BadInput naming the first place that is wrong."""
    try:
        read = bodies.ForwardBackward.model_validate_json(body)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{place}: {first['msg']}", hint="Send what the tinker SDK sends.") from problem
    asked = read.forward_backward_input if backward else read.forward_input
    if asked is None:
        raise BadInput("The body has no input", hint="Send forward_backward_input, or forward_input to /forward.")
    data = tuple(_read_datum(datum) for datum in asked.data)
    work = Pass(AdapterId(read.model_id), data, asked.loss_fn, asked.loss_fn_config or {}, backward)
    return proto.Addressed(RunId(read.model_id), read.seq_id, work)


def _read_datum(datum: bodies.DatumBody) -> Datum:
    inputs = {
        name: read_values(value.dtype, value.data, value.shape, value.sparse_crow_indices, value.sparse_col_indices)
        for name, value in datum.loss_fn_inputs.items()
    }
    return Datum(read_tokens(datum.model_input), inputs)


def read_tokens(prompt: bodies.ModelInput) -> tuple[int, ...]:
    """Raises BadInput for chunks that are no text."""
    tokens: list[int] = []
    for chunk in prompt.chunks:
        if chunk.tokens is None:
            raise BadInput("The data holds images or sound", hint="The models served here read text only.")
        tokens += chunk.tokens
    return tuple(tokens)
