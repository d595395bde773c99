"""The protobuf half of the wire: forward_backward requests in, pass and sample results out."""

import array
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from anubhav.errors import BadInput
from anubhav.http.tinker import wire_pb2 as wire
from anubhav.http.tinker.tensors import read_tensor, unpack
from anubhav.serving.sessions import Sample, SampleOutcome
from anubhav.types.arrays import Array
from anubhav.types.ids import AdapterId, RunId
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


def read_forward_backward(body: bytes) -> Addressed:
    """Raises BadInput for bytes that are no request, chunks that are no text and configs that are no numbers."""
    message = wire.ForwardBackwardRequest()
    try:
        message.ParseFromString(body)
    except DecodeError as problem:
        raise BadInput("The body is no ForwardBackwardRequest", hint="Send what the tinker SDK sends.") from problem
    work = Pass(
        adapter=AdapterId(message.model_id),
        data=tuple(_read_datum(datum) for datum in message.data),
        loss=message.loss_fn,
        config=_read_config(message),
        backward=not message.forward_only,
    )
    return Addressed(RunId(message.model_id), message.seq_id, work)


def _read_config(message: wire.ForwardBackwardRequest) -> Mapping[str, float]:
    texts = [name for name, value in message.loss_fn_config_v2.items() if value.HasField("text")]
    if texts:
        raise BadInput(f"Loss option {texts[0][:100]!r} is a text", hint="The losses here take numbers only.")
    return {name: value.number for name, value in message.loss_fn_config_v2.items()} | dict(message.loss_fn_config)


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
    if outcome.prompt is not None:
        message.prompt_logprobs = pack_floats(outcome.prompt.logprobs)
        if outcome.prompt.top:
            message.topk_prompt_logprobs.CopyFrom(pack_top(outcome.prompt.top))
    return message.SerializeToString()


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
