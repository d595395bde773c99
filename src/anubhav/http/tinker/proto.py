"""The protobuf half of the wire: forward_backward requests in, pass and sample results out."""

import array
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from anubhav.errors import BadInput
from anubhav.http.tinker import wire_pb2 as wire
from anubhav.http.tinker.provenance import read_provenance
from anubhav.http.tinker.tensors import read_tensor, unpack
from anubhav.serving.asks import Sample, SampleOutcome, Targets
from anubhav.types.arrays import Array
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.provenance import Span
from anubhav.types.sampling import TopLogprobs
from anubhav.types.training import Datum, Pass, PassResult

CONTENT_TYPE = "application/x-protobuf"
_EMPTY_LOGPROB = -99999.0


@dataclass(frozen=True, slots=True)
class Addressed:
    """A pass with its place in a run's order."""

    run: RunId
    seq: int
    work: Pass
    origins: tuple[tuple[Span, ...], ...] = ()
    """Where the targets of each datum came from; empty ones say nothing."""
    sources: tuple[tuple[Span, ...], ...] = ()
    """Where its tokens came from."""


def read_forward_backward(body: bytes) -> Addressed:
    """Raises BadInput for bytes that are no request, chunks that are no text and provenance that does not fit."""
    message = wire.ForwardBackwardRequest()
    try:
        message.ParseFromString(body)
    except DecodeError as problem:
        raise BadInput("The body is no ForwardBackwardRequest", hint="Send what the tinker SDK sends.") from problem
    data = tuple(_read_datum(datum) for datum in message.data)
    work = Pass(
        adapter=AdapterId(message.model_id),
        data=data,
        loss=message.loss_fn,
        config=_read_config(message),
        backward=not message.forward_only,
    )
    found = tuple(itertools.starmap(read_provenance, zip(message.data, data, strict=True)))
    sources, origins = tuple(tokens for tokens, _ in found), tuple(targets for _, targets in found)
    return Addressed(RunId(message.model_id), message.seq_id, work, origins, sources)


def _read_config(message: wire.ForwardBackwardRequest) -> Mapping[str, float | str]:
    """Options of the old map and of the new one, which holds texts too and wins."""
    found: dict[str, float | str] = dict(message.loss_fn_config)
    for name, value in message.loss_fn_config_v2.items():
        found[name] = value.text if value.HasField("text") else value.number
    return found


def _read_datum(datum: wire.Datum) -> Datum:
    if any(chunk.WhichOneof("chunk") != "encoded_text" for chunk in datum.model_input):
        raise BadInput("The data holds images or sound", hint="The models served here read text only.")
    tokens = itertools.chain.from_iterable(unpack("i", chunk.encoded_text.tokens) for chunk in datum.model_input)
    return Datum(tuple(tokens), {name: read_tensor(value) for name, value in datum.loss_fn_inputs.items()})


def write_pass(result: PassResult) -> bytes:
    """One output per datum with its `logprobs`; data of unlike trailing shapes go in several records, in order."""
    groups = itertools.groupby(result.logprobs, key=lambda logprobs: logprobs.shape[1:])
    message = wire.ForwardBackwardOutput(
        loss_fn_output_type="ArrayRecord",
        loss_fn_outputs=[_write_record(list(group), trailing) for trailing, group in groups],
        metrics=dict(result.metrics),
    )
    return message.SerializeToString()


def _write_record(logprobs: Sequence[Array], trailing: tuple[int, ...]) -> wire.ArrayRecord:
    offsets = array.array("q", itertools.accumulate((len(values.data) for values in logprobs), initial=0))
    batch = wire.BatchedTensor(
        data=b"".join(values.data for values in logprobs),
        offsets=offsets.tobytes(),
        dtype=wire.DTYPE_FLOAT32,
        trailing_shape=trailing,
    )
    return wire.ArrayRecord(type_tag="ArrayRecord", fields={"logprobs": batch}, num_datums=len(logprobs))


def write_samples(outcome: SampleOutcome) -> bytes:
    message = wire.SampleResponse(sequences=[_write_sequence(sample) for sample in outcome.samples])
    message.prompt_cache_hit_tokens = outcome.cached
    if (scores := outcome.prompt) is not None:
        if scores.logprobs:
            message.prompt_logprobs = pack_floats(scores.logprobs)
        if scores.top:
            message.topk_prompt_logprobs.CopyFrom(pack_top(scores.top))
        if outcome.targets:
            message.target_prompt_logprobs.CopyFrom(_write_targets(outcome.targets, scores.targets))
        if scores.draws:
            message.prompt_alt_tokens.CopyFrom(_write_draws(scores.draws))
    return message.SerializeToString()


def _write_targets(targets: Targets, logprobs: Sequence[float]) -> wire.Tensor:
    """In the layout of the request."""
    tensor = wire.Tensor(dtype=wire.DTYPE_FLOAT32, shape=targets.shape)
    values = pack_floats(targets.fill(logprobs))
    if targets.row_starts is None or targets.columns is None:
        tensor.dense = values
    else:
        tensor.sparse_csr.values = values
        tensor.sparse_csr.crow_indices = array.array("q", targets.row_starts).tobytes()
        tensor.sparse_csr.col_indices = array.array("q", targets.columns).tobytes()
    return tensor


def _write_draws(draws: Sequence[TopLogprobs]) -> wire.PromptAltTokens:
    shape = (len(draws), len(draws[0]))
    tokens = array.array("q", (token for row in draws for token, _ in row)).tobytes()
    logprobs = pack_floats(logprob for row in draws for _, logprob in row)
    return wire.PromptAltTokens(
        tokens=wire.Tensor(dense=tokens, dtype=wire.DTYPE_INT64, shape=shape),
        logprobs=wire.Tensor(dense=logprobs, dtype=wire.DTYPE_FLOAT32, shape=shape),
    )


def _write_sequence(sample: Sample) -> wire.SampledSequence:
    return wire.SampledSequence(
        stop_reason=wire.STOP_REASON_STOP if sample.stop_reason == "stop" else wire.STOP_REASON_LENGTH,
        tokens=array.array("i", sample.tokens).tobytes(),
        logprobs=pack_floats(sample.logprobs),
        topk_sampled_logprobs=pack_top(sample.top) if sample.top else None,
    )


def pack_floats(values: Iterable[float | None]) -> bytes:
    """None becomes NaN."""
    return array.array("f", (math.nan if value is None else value for value in values)).tobytes()


def pack_top(rows: Sequence[TopLogprobs | None]) -> wire.TopkLogprobs:
    """As many columns as the longest row has."""
    k = max((len(row) for row in rows if row), default=0)
    ids = array.array("i")
    logprobs = array.array("f")
    for row in rows:
        cells = [*(row or ()), *[(0, _EMPTY_LOGPROB)] * (k - len(row or ()))]
        ids.extend(token for token, _ in cells)
        logprobs.extend(logprob for _, logprob in cells)
    return wire.TopkLogprobs(token_ids=ids.tobytes(), logprobs=logprobs.tobytes(), k=k, length=len(rows))
