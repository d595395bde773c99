"""Every input that can never succeed: the SDK raises at once, by the expected class and with the reason in it.

Each fault is followed by an ordinary operation of the same client: what was refused must not stand in its way.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import tinker
from deadlines import fails, within
from tinker import types

pytestmark = pytest.mark.tinker_sdk

MODEL = "tiny"
VOCAB, CONTEXT = 258, 512
NAN, INFINITE = math.nan, math.inf
BAD, MISSING = tinker.BadRequestError, tinker.NotFoundError
TOO_LARGE = tinker.APIStatusError
"""413 has no class of its own in the SDK."""


def datum(tokens: list[int] | None = None, **inputs: Any) -> types.Datum:
    tokens = tokens or [1, 2, 3]
    given = {"target_tokens": [2, 3, 4], "weights": [1.0, 1.0, 1.0], **inputs}
    kept = {name: value for name, value in given.items() if value is not None}
    return types.Datum(model_input=types.ModelInput.from_ints(tokens), loss_fn_inputs=kept)


def rated(**inputs: Any) -> types.Datum:
    """For the losses of policies."""
    return datum(weights=None, **{"logprobs": [-1.0] * 3, "advantages": [1.0] * 3, **inputs})


def data(datum: types.Datum, loss: str = "cross_entropy", config: dict[str, float] | None = None) -> Any:
    return lambda client: client.forward_backward([datum], loss, config).result()


def step(**params: float) -> Any:
    return lambda client: client.optim_step(types.AdamParams(**params)).result()


def tensor(values: list[Any], dtype: Any, shape: list[int]) -> types.TensorData:
    return types.TensorData(data=values, dtype=dtype, shape=shape)


Fault = tuple[str, Callable[[Any], Any], type[Exception], tuple[str, ...]]
"""Its name, what to do with a client, the SDK's exception, words in what it says."""

OF_TRAINING: list[Fault] = [
    ("an unknown loss", data(datum(), "no_such_loss"), BAD, ("no_such_loss", "cross_entropy")),
    ("no weights", data(datum(weights=None)), BAD, ("weights", "datum 0")),
    ("no targets", data(datum(target_tokens=None)), BAD, ("target_tokens",)),
    ("too few weights", data(datum(weights=[1.0])), BAD, ("weights", "shape")),
    ("too many targets", data(datum(target_tokens=[2, 3, 4, 5])), BAD, ("target_tokens", "shape")),
    ("targets that are no ids", data(datum(target_tokens=tensor([0.5] * 3, "float32", [3]))), BAD, ("integer",)),
    ("a target out of range", data(datum(target_tokens=[2, 3, VOCAB])), BAD, ("outside 0..257", "tokenize")),
    ("a negative target", data(datum(target_tokens=[2, 3, -1])), BAD, ("outside 0..257",)),
    ("a token out of range", data(datum([1, 2, VOCAB])), BAD, ("outside 0..257", "tokenize")),
    ("weights that are NaN", data(datum(weights=[1.0, NAN, 1.0])), BAD, ("weights", "not finite")),
    ("weights that are infinite", data(datum(weights=[1.0, INFINITE, 1.0])), BAD, ("weights", "not finite")),
    ("no logprobs", data(rated(logprobs=None), "ppo"), BAD, ("logprobs",)),
    ("logprobs that are NaN", data(rated(logprobs=[NAN] * 3), "ppo"), BAD, ("logprobs", "not finite")),
    ("no advantages", data(rated(advantages=None), "importance_sampling"), BAD, ("advantages",)),
    ("advantages that are NaN", data(rated(advantages=[NAN] * 3), "cispo"), BAD, ("advantages", "not finite")),
    ("infinite advantages", data(rated(advantages=[-INFINITE] * 3), "dro"), BAD, ("advantages", "not finite")),
    ("a mask of zeros", data(rated(sequence_ratio_mask=tensor([0.0] * 3, "float32", [3])), "gspo"), BAD, ("mask",)),
    ("an option that is NaN", data(rated(), "ppo", {"clip_low_threshold": NAN}), BAD, ("clip_low", "finite")),
    ("bounds the wrong way", data(rated(), "ppo", {"clip_low_threshold": 2.0}), BAD, ("clip_low", "clip_high")),
    (
        "a prompt longer than the context",
        data(datum([1] * (CONTEXT + 1), target_tokens=[1] * (CONTEXT + 1), weights=[1.0] * (CONTEXT + 1))),
        TOO_LARGE,
        ("513 tokens", "512"),
    ),
    ("an image", data(types.Datum(
        model_input=types.ModelInput(chunks=[types.ImageChunk(data=b"x", format="png")]),
        loss_fn_inputs={"target_tokens": tensor([1], "int64", [1]), "weights": tensor([1.0], "float32", [1])},
    )), BAD, ("text only",)),
    ("no data", lambda client: client.forward_backward([], "cross_entropy").result(), ValueError, ("no data",)),
    ("a rate that is NaN", step(learning_rate=NAN), BAD, ("learning_rate",)),
    ("a rate that is infinite", step(learning_rate=INFINITE), BAD, ("learning_rate",)),
    ("a negative rate", step(learning_rate=-1.0), BAD, ("learning_rate",)),
    ("a beta of 1", step(learning_rate=1e-3, beta1=1.0), BAD, ("beta1",)),
    ("a checkpoint's name with a slash", lambda client: client.save_state("a/b").result(), BAD, ("name",)),
    ("a checkpoint that is nowhere", lambda client: client.load_state("tinker://x:train:0/weights/y").result(),
     MISSING, ("no checkpoint",)),
    ("a path that is none", lambda client: client.load_state("/etc/passwd").result(), BAD, ("tinker://",)),
    ("a time to live that is none", lambda client: client.save_state("short", ttl_seconds=-1).result(), BAD, ("ttl",)),
]  # fmt: skip


@pytest.mark.parametrize("fault", OF_TRAINING, ids=lambda fault: fault[0])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_training(service: tinker.ServiceClient, fault: Fault) -> None:
    _, do, kind, words = fault
    client = within(lambda: service.create_lora_training_client(MODEL, rank=4, seed=1).result())
    fails(lambda: do(client), kind, *words)
    within(lambda: client.forward_backward([datum()], "cross_entropy").result())
    within(lambda: client.optim_step(types.AdamParams(learning_rate=1e-3)).result())
    fails(lambda: do(client), kind, *words)
    assert within(lambda: client.save_state("after").result()).path.endswith("/weights/after")


OF_CREATION: list[Fault] = [
    ("an unknown model", lambda s: s.create_lora_training_client("no-such-model").result(), BAD, ("tiny",)),
    ("rank 0", lambda s: s.create_lora_training_client(MODEL, rank=0).result(), BAD, ("rank 0", "1..")),
    ("rank 10000", lambda s: s.create_lora_training_client(MODEL, rank=10_000).result(), BAD, ("rank 10000",)),
    ("nothing to train", lambda s: s.create_lora_training_client(
        MODEL, train_mlp=False, train_attn=False, train_unembed=False).result(), Exception, ("train",)),
    ("a state that is nowhere", lambda s: s.create_training_client_from_state(
        "tinker://other:train:0/weights/x").result(), MISSING, ("no checkpoint",)),
    ("an unknown model to sample from", lambda s: s.create_sampling_client(base_model="nope").result(),
     MISSING, ("nope", "tiny")),
    ("weights that are nowhere", lambda s: s.create_sampling_client(
        model_path="tinker://other:train:0/sampler_weights/x").result(), MISSING, ("no checkpoint",)),
]  # fmt: skip


@pytest.mark.parametrize("fault", OF_CREATION, ids=lambda fault: fault[0])
def test_creation(service: tinker.ServiceClient, fault: Fault) -> None:
    _, do, kind, words = fault
    fails(lambda: do(service), kind, *words)
    assert within(lambda: service.create_lora_training_client(MODEL, rank=4).result()).model_id


def said(prompt: list[int] | None = None, n: int = 1, **params: Any) -> Any:
    prompt = [1, 2, 3] if prompt is None else prompt
    asked = {"max_tokens": 2, **params}
    return lambda client: client.sample(
        types.ModelInput.from_ints(prompt), n, types.SamplingParams(**asked)
    ).result()  # fmt: skip


OF_SAMPLING: list[Fault] = [
    ("no prompt", said([]), BAD, ("prompt",)),
    ("a prompt as long as the context", said([1] * CONTEXT), TOO_LARGE, ("512",)),
    ("a token out of range", said([1, VOCAB]), BAD, ("0..257",)),
    ("a negative token", said([1, -1]), BAD, ("0..257",)),
    ("no tokens", said(max_tokens=0), BAD, ("max_tokens",)),
    ("no samples", said(n=0), BAD, ("num_samples",)),
    ("a negative temperature", said(temperature=-1.0), BAD, ("temperature",)),
    ("a temperature that is NaN", said(temperature=NAN), ValueError, ("JSON",)),
    ("a top_p of 0", said(top_p=0.0), BAD, ("top_p",)),
    ("a top_p that is NaN", said(top_p=NAN), ValueError, ("JSON",)),
    ("a top_k below -1", said(top_k=-2), BAD, ("top_k",)),
    ("an empty stop string", said(stop=[""]), BAD, ("stop",)),
    ("a thousand stop strings", said(stop=[f"s{n}" for n in range(1000)]), BAD, ("stop",)),
]


@pytest.mark.parametrize("fault", OF_SAMPLING, ids=lambda fault: fault[0])
def test_sampling(service: tinker.ServiceClient, fault: Fault) -> None:
    _, do, kind, words = fault
    client = within(lambda: service.create_sampling_client(base_model=MODEL).result())
    fails(lambda: do(client), kind, *words)
    assert within(lambda: said()(client)).sequences


def test_what_the_sdk_itself_refuses_to_send_leaves_a_gap_that_is_passed_over(service: tinker.ServiceClient) -> None:
    """A number is used up by it, and the server is never told."""
    client = within(lambda: service.create_lora_training_client(MODEL, rank=4).result())
    pointer = types.ImageAssetPointerChunk(format="png", location="asset://x")
    unsent = types.Datum(model_input=types.ModelInput(chunks=[pointer]), loss_fn_inputs=datum().loss_fn_inputs)
    for _ in range(2):
        fails(lambda: client.forward_backward([unsent], "cross_entropy").result(), Exception, "image")
        passed = client.forward_backward([datum()], "cross_entropy")
        stepped = client.optim_step(types.AdamParams(learning_rate=1e-3))
        assert within(passed.result).metrics["loss:sum"] > 0
        within(stepped.result)


def test_a_refused_chunk_stops_neither_its_pass_nor_what_follows(
    service: tinker.ServiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK sends the first chunk last, and not at all once another was refused: its client would be stuck."""
    client = within(lambda: service.create_lora_training_client(MODEL, rank=4).result())
    config = client.holder._client_config.model_copy(update={"fwdbwd_max_chunk_len": 1})
    monkeypatch.setattr(client.holder, "_client_config", config)
    strange = datum([1, 2, VOCAB])
    for place in range(3):
        chunks = [datum(), datum(), datum()]
        chunks[place] = strange
        kind = BAD if place == 0 else tinker.RequestFailedError
        fails(lambda chunks=chunks: client.forward_backward(chunks, "cross_entropy").result(), kind, "0..257")
    assert within(lambda: client.forward_backward([datum()] * 3, "cross_entropy").result()).metrics["loss:sum"] > 0
    within(lambda: client.optim_step(types.AdamParams(learning_rate=1e-3)).result())


def test_a_stop_token_that_no_model_says_stops_nothing(service: tinker.ServiceClient) -> None:
    client = within(lambda: service.create_sampling_client(base_model=MODEL).result())
    assert within(lambda: said(stop=[VOCAB])(client)).sequences[0].stop_reason == "length"
