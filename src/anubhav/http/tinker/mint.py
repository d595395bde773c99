"""MinT's reverse KL over Tinker's wire: `_mintx.forward_backward_reverse_kl` of its toolkit posts it.

The two inputs are prompts; `target_tokens`, with one weight each, continue both. The toolkit leaves `seq_id` null, and
sends a request again under the same idempotency key.
"""

from typing import Any

from fastapi import APIRouter, Depends, Header

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.tinker import bodies
from anubhav.http.tinker.legacy import read_tokens
from anubhav.http.tinker.training import house_of
from anubhav.types.distilling import Continuation, Distillation
from anubhav.types.ids import RunId
from anubhav.types.models import Principal
from anubhav.types.operations import Distil

router = APIRouter(prefix="/api/v1/mint", dependencies=[Depends(needs("train"))])


@router.post("/forward_backward_reverse_kl")
async def forward_backward_reverse_kl(
    body: bodies.ReverseKL,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
    x_idempotency_key: str | None = Header(default=None, max_length=200),
) -> dict[str, Any]:
    data = tuple(_read(number, datum) for number, datum in enumerate(body.data))
    operation = Distil(Distillation(data, body.temperature), body.reference_model_path)
    run = RunId(body.model_id)
    promise = await house.desk.submit(who.tenant, run, body.seq_id, operation, key=x_idempotency_key)
    return {"request_id": promise, "model_id": run}


def _read(number: int, datum: bodies.ReverseKLDatum) -> Continuation:
    """A toolkit's own TensorData calls itself float32 unless it is told otherwise, so the values say what they are."""
    targets = _flat(datum.target_tokens)
    if any(target != int(target) for target in targets):
        raise BadInput(f"Datum {number} has target_tokens that are no token ids", hint="Send whole numbers.")
    return Continuation(
        read_tokens(datum.student_input),
        read_tokens(datum.reference_input),
        tuple(map(int, targets)),
        tuple(map(float, _flat(datum.weights))),
    )


def _flat(tensor: bodies.PlainTensor) -> list[int] | list[float]:
    return tensor.data if isinstance(tensor.data, list) else [tensor.data]
