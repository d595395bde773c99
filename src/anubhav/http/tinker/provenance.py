"""Provenance on the wire: which sampled sequence, or which prompt, each position of a datum came from."""

from collections.abc import Sequence

from anubhav.errors import BadInput
from anubhav.http.tinker import wire_pb2 as wire
from anubhav.types.provenance import Span
from anubhav.types.training import Datum


def read_provenance(message: wire.Datum, datum: Datum) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Where the datum's tokens and its targets came from; empty when it does not say.

    Raises BadInput for spans that do not follow one another over all of both annotated fields.
    """
    if not message.model_input_spans and not message.loss_fn_input_spans:
        return (), ()
    tokens = _read_tiling("model_input", message.model_input_spans, len(datum.tokens))
    targets = datum.inputs.get("target_tokens")
    if targets is None:
        return tokens, ()
    return tokens, _read_tiling("loss_fn_inputs", message.loss_fn_input_spans, targets.shape[0])


def _read_tiling(field: str, spans: Sequence[wire.ProvenanceSpan], length: int) -> tuple[Span, ...]:
    read = tuple(_read_span(field, span) for span in spans)
    covered = sum(span.length for span in read)
    if covered != length:
        raise BadInput(f"The spans over {field} cover {covered} positions of {length}", hint=_HINT)
    return read


def _read_span(field: str, span: wire.ProvenanceSpan) -> Span:
    if not (kind := span.WhichOneof("span")):
        raise BadInput(f"A span over {field} names neither prompt nor sampled tokens", hint=_HINT)
    run: wire.ProvenanceRun = getattr(span, kind)
    if not run.sequence_id or run.offset < 0 or run.length < 0:
        raise BadInput(f"A span over {field} has no sequence id, or an offset or length below 0", hint=_HINT)
    return Span(run.sequence_id, run.offset, run.length, kind == "sampled_tokens")


_HINT = "Send what Datum.with_provenance makes."
