"""Our wire code against the SDK's own encoder and decoder."""

import json
import math
from dataclasses import replace

import pytest
import tinker
import torch
from tinker.proto.request_conv import forward_backward_request_to_proto
from tinker.proto.response_conv import deserialize_forward_backward_output
from tinker.types.forward_backward_input import ForwardBackwardInput
from tinker.types.forward_backward_request import ForwardBackwardRequest
from tinker.types.provenance_spans import PromptProvenanceSpan, SampledProvenanceSpan

from anubhav.errors import BadInput, TooLarge
from anubhav.http.tinker import legacy, proto, tensors
from anubhav.http.tinker import wire_pb2 as wire
from anubhav.types.arrays import floats, ints
from anubhav.types.provenance import Span
from anubhav.types.training import PassResult


def encode(data: list[tinker.Datum], config: dict[str, float] | None = None) -> bytes:
    work = ForwardBackwardInput(data=data, loss_fn="cross_entropy", loss_fn_config=config)
    request = ForwardBackwardRequest(forward_backward_input=work, model_id="s:train:0", seq_id=7)
    return forward_backward_request_to_proto(request).SerializeToString()


def datum(tokens: list[int], **inputs: object) -> tinker.Datum:
    return tinker.Datum(model_input=tinker.ModelInput.from_ints(tokens), loss_fn_inputs=inputs)


def test_the_sdks_request_reads_as_a_pass() -> None:
    body = encode([datum([5, 70000, 2], target_tokens=[1, 2, 3], weights=[0.5, 1.0, 0.0])], {"beta": 0.25})
    read = proto.read_forward_backward(body)
    assert (read.run, read.seq, read.work.loss, read.work.backward) == ("s:train:0", 7, "cross_entropy", True)
    assert read.work.config == {"beta": 0.25}
    assert read.work.data[0].tokens == (5, 70000, 2)
    assert read.work.data[0].inputs == {"target_tokens": ints([1, 2, 3]), "weights": floats([0.5, 1.0, 0.0])}


def test_sparse_targets_become_dense() -> None:
    targets = torch.zeros(40, 3, dtype=torch.int64)
    targets[3, 1], targets[39, 2] = 11, 12
    message = forward_backward_request_to_proto(
        ForwardBackwardRequest(ForwardBackwardInput(data=[datum([1], target_tokens=targets)], loss_fn="x"), "m", 1)
    )
    assert message.data[0].loss_fn_inputs["target_tokens"].HasField("sparse_csr")
    read = proto.read_forward_backward(message.SerializeToString()).work.data[0].inputs["target_tokens"]
    assert read.shape == (40, 3)
    assert read.tolist() == targets.flatten().tolist()


def test_the_sdk_reads_our_result_in_order_whatever_the_shapes() -> None:
    logprobs = (floats([-1, -2]), floats([-3]), floats([-4, -5, -6, -7], (2, 2)), floats([-8]))
    answer = proto.write_pass(PassResult(logprobs, {"loss:sum": 36.0}))
    output = deserialize_forward_backward_output(answer)
    assert output.metrics == {"loss:sum": 36.0}
    read = [fields["logprobs"] for fields in output.loss_fn_outputs]
    assert [value.shape for value in read] == [[2], [1], [2, 2], [1]]
    assert [value.data for value in read] == [[-1, -2], [-3], [-4, -5, -6, -7], [-8]]


def test_options_may_be_texts_and_the_newer_map_wins() -> None:
    newer = {"loss_id": wire.LossConfigValue(text="a"), "beta": wire.LossConfigValue(number=2.0)}
    message = wire.ForwardBackwardRequest(loss_fn_config={"beta": 1.0, "low": 3.0}, loss_fn_config_v2=newer)
    read = proto.read_forward_backward(message.SerializeToString())
    assert read.work.config == {"loss_id": "a", "beta": 2.0, "low": 3.0}


def provenance(tokens: int, rows: int) -> bytes:
    """Of a datum of three positions, with spans over so many of them."""
    spans = [
        [PromptProvenanceSpan(sequence_id="s", length=1), SampledProvenanceSpan(sequence_id="t", length=count - 1)]
        for count in (tokens, rows)
    ]
    whole = datum([5, 6, 7], target_tokens=[1, 2, 3], logprobs=[0.0, -1.0, -1.0], advantages=[0.0, 1.0, 1.0])
    return encode([replace(whole, model_input_spans=spans[0], loss_fn_input_spans=spans[1])])


def test_provenance_must_tile() -> None:
    read = proto.read_forward_backward(provenance(3, 3))
    assert read.origins == ((Span("s", 0, 1, sampled=False), Span("t", 0, 2, sampled=True)),)
    assert read.work.data[0].inputs.keys() == {"target_tokens", "logprobs", "advantages"}
    assert proto.read_forward_backward(encode([datum([5], target_tokens=[1])])).origins == ((),)
    for tokens, rows in ((2, 3), (3, 4)):
        with pytest.raises(BadInput, match="cover"):
            proto.read_forward_backward(provenance(tokens, rows))
    run = wire.ProvenanceRun(sequence_id="s", length=1)
    targets = wire.Tensor(dense=ints([1]).data, dtype=wire.DTYPE_INT64, shape=[1])
    chunk = wire.Chunk(encoded_text=wire.EncodedTextChunk(tokens=b"\1\0\0\0"))
    for span in (
        wire.ProvenanceSpan(),
        wire.ProvenanceSpan(sampled_tokens=wire.ProvenanceRun(length=1)),
        wire.ProvenanceSpan(sampled_tokens=wire.ProvenanceRun(sequence_id="s", length=1, offset=-1)),
        None,
    ):
        bad = wire.Datum(
            model_input=[chunk],
            loss_fn_inputs={"target_tokens": targets},
            model_input_spans=[wire.ProvenanceSpan(prompt_tokens=run)],
            loss_fn_input_spans=[span] if span else [],
        )
        with pytest.raises(BadInput):
            proto.read_forward_backward(wire.ForwardBackwardRequest(data=[bad]).SerializeToString())


def test_json_passes_may_be_sparse_and_hold_texts() -> None:
    def sparse(dtype: str, values: list[float]) -> dict[str, object]:
        indices = {"sparse_crow_indices": [0, 1, 2], "sparse_col_indices": [1, 0]}
        return {"data": values, "dtype": dtype, "shape": [2, 2], **indices}

    inputs = {"target_tokens": sparse("int64", [7, 9]), "weights": sparse("float32", [0.5, -1.0])}
    data = [{"model_input": {"chunks": [{"tokens": [1, 2]}]}, "loss_fn_inputs": inputs}]
    asked = {"data": data, "loss_fn": "cross_entropy", "loss_fn_config": {"a": "text", "b": 1}}
    body = json.dumps({"model_id": "m", "seq_id": 1, "forward_backward_input": asked}).encode()
    work = legacy.read_pass(body, backward=True).work
    assert work.config == {"a": "text", "b": 1}
    assert work.data[0].inputs["target_tokens"] == ints([0, 7, 9, 0], (2, 2))
    assert work.data[0].inputs["weights"] == floats([0.0, 0.5, -1.0, 0.0], (2, 2))


def test_images_and_noise_are_refused() -> None:
    picture = tinker.ModelInput(chunks=[tinker.types.ImageChunk(data=b"x", format="png")])
    with pytest.raises(BadInput, match="images"):
        proto.read_forward_backward(encode([tinker.Datum(model_input=picture, loss_fn_inputs={})]))
    with pytest.raises(BadInput):
        proto.read_forward_backward(b"\xff not protobuf")


@pytest.mark.parametrize(
    "tensor",
    [
        wire.Tensor(dense=b"1234", dtype=wire.DTYPE_INT64, shape=[1]),
        wire.Tensor(dense=b"1234", dtype=wire.DTYPE_FLOAT32, shape=[-1, -1]),
        wire.Tensor(dense=b"1234", dtype=wire.DTYPE_BFLOAT16, shape=[2]),
        wire.Tensor(sparse_csr=wire.SparseCsr(), dtype=wire.DTYPE_INT64, shape=[1 << 40, 1 << 40]),
        wire.Tensor(sparse_csr=wire.SparseCsr(crow_indices=ints([0, 5]).data), dtype=wire.DTYPE_INT64, shape=[1, 4]),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensor: wire.Tensor) -> None:
    with pytest.raises(BadInput):
        tensors.read_tensor(tensor)


def test_a_small_sparse_tensor_cannot_ask_for_much_memory() -> None:
    with pytest.raises(TooLarge):
        tensors.densify("int64", (1, 1 << 30), [], [0, 0], [])


def test_json_tensors() -> None:
    assert tensors.read_values("float32", [1, 2.5], None, None, None) == floats([1, 2.5])
    assert tensors.read_values("int64", [7], [2, 2], [0, 0, 1], [1]) == ints([0, 0, 0, 7], (2, 2))
    for values in ([1.5], [1 << 70]):
        with pytest.raises(BadInput):
            tensors.read_values("int64", values, None, None, None)


def test_missing_logprobs_are_nan_and_missing_top_cells_are_marked() -> None:
    assert math.isnan(tensors.unpack("f", proto.pack_floats([None, -1.0]))[0])
    top = proto.pack_top([None, ((3, -0.5),), ((1, -1.0), (2, -2.0))])
    assert tensors.unpack("i", top.token_ids).tolist() == [0, 0, 3, 0, 1, 2]
    assert tensors.unpack("f", top.logprobs).tolist() == [-99999.0, -99999.0, -0.5, -99999.0, -1.0, -2.0]
