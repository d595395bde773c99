"""Provenance: which sampled sequence, or which prompt, each position of a datum came from.

It is checked and not kept: the losses here take the log-probabilities at sampling from the datum itself.
"""

from collections.abc import Sequence

from anubhav.errors import BadInput
from anubhav.http.tinker import wire_pb2 as wire
from anubhav.types.training import Datum


def check_provenance(message: wire.Datum, datum: Datum) -> None:
    """Raises BadInput unless a datum brings no spans, or such that follow one another over all of both its fields."""
    if not message.model_input_spans and not message.loss_fn_input_spans:
        return
    _check_tiling("model_input", message.model_input_spans, len(datum.tokens))
    if (targets := datum.inputs.get("target_tokens")) is not None:
        _check_tiling("loss_fn_inputs", message.loss_fn_input_spans, targets.shape[0])


def _check_tiling(field: str, spans: Sequence[wire.ProvenanceSpan], length: int) -> None:
    covered = 0
    for span in spans:
        if not (kind := span.WhichOneof("span")):
            raise BadInput(f"A span over {field} names neither prompt nor sampled tokens", hint=_HINT)
        run: wire.ProvenanceRun = getattr(span, kind)
        if not run.sequence_id or run.offset < 0 or run.length < 0:
            raise BadInput(f"A span over {field} has no sequence id, or an offset or length below 0", hint=_HINT)
        covered += run.length
    if covered != length:
        raise BadInput(f"The spans over {field} cover {covered} positions of {length}", hint=_HINT)


_HINT = "Send what Datum.with_provenance makes."
