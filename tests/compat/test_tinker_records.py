"""Checkpoints and downloads through the unmodified SDK's RestClient, over the fake backend."""

import io
import json
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pyrage
import pytest
import tinker
from safetensors import deserialize
from tinker import types

pytestmark = pytest.mark.tinker_sdk

MODEL = "tiny"
DATA = [
    types.Datum(
        model_input=types.ModelInput.from_ints([1, 2, 3, 4, 5]),
        loss_fn_inputs={"target_tokens": [2, 3, 4, 5, 6], "weights": [0.0, 1.0, 1.0, 0.5, 1.0]},
    )
]
HOUR = timedelta(hours=1)


@pytest.fixture
def service(tinker_server: Any) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as client:
        yield client


@pytest.fixture
def rest(tinker_server: Any) -> tinker.RestClient:
    return tinker.RestClient(base_url=tinker_server.url, api_key=tinker_server.key)


@pytest.fixture
def trainer(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return service.create_lora_training_client(MODEL, rank=4, seed=1).result()


@pytest.fixture
def stranger(tinker_server: Any) -> tinker.RestClient:
    return tinker.RestClient(base_url=tinker_server.url, api_key=tinker_server.add_key("stranger"))


@pytest.fixture
def wire(tinker_server: Any) -> Iterator[httpx2.Client]:
    """For what the SDK has no method for any more."""
    with httpx2.Client(base_url=tinker_server.url, headers={"X-API-Key": tinker_server.key}) as client:
        yield client


def listed(rest: tinker.RestClient, path: str) -> types.Checkpoint:
    run = path.removeprefix("tinker://").split("/")[0]
    return next(one for one in rest.list_checkpoints(run).result().checkpoints if one.tinker_path == path)


def session_of(trainer: tinker.TrainingClient) -> str:
    return trainer.model_id.partition(":train:")[0]


def train(trainer: tinker.TrainingClient) -> None:
    trainer.forward_backward(DATA, "cross_entropy").result()
    trainer.optim_step(types.AdamParams(learning_rate=0.05)).result()


def test_checkpoints_carry_their_expiry_and_metadata(trainer: tinker.TrainingClient, rest: tinker.RestClient) -> None:
    before = datetime.now(UTC)
    state = trainer.save_state("state", ttl_seconds=7200, user_metadata={"step": "10"}).result().path
    sampler = trainer.save_weights_for_sampler("sampler", ttl_seconds=3600, user_metadata={"eval": "ok"}).result().path
    plain = trainer.save_state("plain").result().path
    found = listed(rest, state)
    assert found.user_metadata == {"step": "10"}
    assert found.expires_at is not None
    assert 2 * HOUR <= found.expires_at - before < 2 * HOUR + timedelta(minutes=1)
    assert found.time + 2 * HOUR == found.expires_at
    assert listed(rest, sampler).user_metadata == {"eval": "ok"}
    assert listed(rest, sampler).expires_at is not None
    assert (listed(rest, plain).expires_at, listed(rest, plain).user_metadata) == (None, None)

    rest.set_checkpoint_ttl_from_tinker_path(state, None).result()
    assert listed(rest, state).expires_at is None
    rest.set_checkpoint_ttl_from_tinker_path(plain, 86_400).result()
    until = listed(rest, plain).expires_at
    assert until is not None
    assert until - datetime.now(UTC) > 23 * HOUR


@pytest.mark.parametrize("ttl", [0, -5, 3599, 11 * 366 * 86_400])
def test_a_time_to_live_outside_its_limits_is_refused(
    trainer: tinker.TrainingClient, rest: tinker.RestClient, ttl: int
) -> None:
    path = trainer.save_state("kept").result().path
    with pytest.raises(tinker.BadRequestError, match="ttl_seconds"):
        rest.set_checkpoint_ttl_from_tinker_path(path, ttl).result()
    with pytest.raises(tinker.BadRequestError, match="ttl_seconds"):
        trainer.save_state("other", ttl_seconds=ttl).result()
    assert listed(rest, path).expires_at is None


def test_a_published_checkpoint_can_be_read_by_others(
    tinker_server: Any, trainer: tinker.TrainingClient, rest: tinker.RestClient, stranger: tinker.RestClient
) -> None:
    path = trainer.save_state("shared").result().path
    with pytest.raises(tinker.NotFoundError):
        stranger.get_weights_info_by_tinker_path(path).result()
    with pytest.raises(tinker.NotFoundError):
        stranger.publish_checkpoint_from_tinker_path(path).result()
    rest.publish_checkpoint_from_tinker_path(path).result()
    assert listed(rest, path).public
    info = stranger.get_weights_info_by_tinker_path(path).result()
    assert (info.base_model, info.lora_rank, info.is_lora) == (MODEL, 4, True)
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.add_key("reader")) as other:
        train(other.create_training_client_from_state(path).result())
        sampler = other.create_sampling_client(model_path=path).result()
        prompt, params = types.ModelInput.from_ints([7]), types.SamplingParams(max_tokens=2)
        assert len(sampler.sample(prompt=prompt, sampling_params=params, num_samples=1).result().sequences) == 1
    # Reading is all they may do.
    for refused in (
        lambda: stranger.list_checkpoints(trainer.model_id),
        lambda: stranger.get_training_run(trainer.model_id, access_scope="accessible"),
        lambda: stranger.delete_checkpoint_from_tinker_path(path),
        lambda: stranger.set_checkpoint_ttl_from_tinker_path(path, 3600),
        lambda: stranger.unpublish_checkpoint_from_tinker_path(path),
    ):
        with pytest.raises(tinker.NotFoundError):
            refused().result()
    rest.unpublish_checkpoint_from_tinker_path(path).result()
    assert not listed(rest, path).public
    with pytest.raises(tinker.NotFoundError):
        stranger.get_weights_info_by_tinker_path(path).result()


def test_the_trace_shows_each_operation_when_it_was_done(
    trainer: tinker.TrainingClient, rest: tinker.RestClient
) -> None:
    train(trainer)
    url = rest.export_session_trace(session_of(trainer)).result()
    trace = json.loads(httpx2.get(url).raise_for_status().content)
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert [event["name"] for event in slices] == ["Create", "Compute", "Step"]
    assert [event["args"]["tokens"] for event in slices] == [None, 5, None]
    now = datetime.now(UTC).timestamp() * 1e6
    end = 0.0
    for event in slices:
        assert end <= event["ts"] <= event["ts"] + event["dur"] <= now
        end = event["ts"] + event["dur"]
    assert slices[0]["ts"] > now - 600e6


def test_a_copy_is_read_like_its_source_and_outlives_it(
    trainer: tinker.TrainingClient, service: tinker.ServiceClient, rest: tinker.RestClient
) -> None:
    train(trainer)
    source = trainer.save_state("source", user_metadata={"from": "here"}).result().path
    path = rest.copy_weights(source, "proj-copies", ttl_seconds=7200).result()
    assert path != source
    assert path.endswith("/weights/source")
    found = listed(rest, path)
    assert found.user_metadata == {"from": "here"}
    assert found.expires_at is not None
    run = path.removeprefix("tinker://").split("/")[0]
    assert rest.get_session(run.partition(":train:")[0]).result().training_run_ids == [run]
    assert run in {
        one.training_run_id for one in rest.list_training_runs(project_id="proj-copies").result().training_runs
    }
    rest.delete_checkpoint_from_tinker_path(source).result()
    again = service.create_training_client_from_state_with_optimizer(path).result()
    assert again.forward(DATA, "cross_entropy").result().loss_fn_outputs[0]["logprobs"].tolist() == (
        trainer.forward(DATA, "cross_entropy").result().loss_fn_outputs[0]["logprobs"].tolist()
    )


def test_a_copy_is_made_once_for_a_key_and_is_not_trained(
    wire: httpx2.Client, trainer: tinker.TrainingClient, tinker_server: Any
) -> None:
    source = trainer.save_state("source").result().path
    body = {"source_path": source}
    first = wire.post("/api/v1/copy_weights", json=body, headers={"X-Idempotency-Key": "copy-1"}).json()["tinker_path"]
    again = wire.post("/api/v1/copy_weights", json=body, headers={"X-Idempotency-Key": "copy-1"}).json()["tinker_path"]
    other = wire.post("/api/v1/copy_weights", json=body, headers={"X-Idempotency-Key": "copy-2"}).json()["tinker_path"]
    assert first == again != other
    run = first.removeprefix("tinker://").split("/")[0]
    for seq in (0, 1):
        refused = wire.post(
            "/api/v1/load_weights", json={"model_id": run, "seq_id": seq, "path": first, "optimizer": False}
        )
        assert refused.status_code == 400, refused.text
    # Into a slot of a session; the same slot twice is the same copy, and taken for others.
    slot = {"session_id": session_of(trainer), "model_seq_id": 7, **body}
    placed = wire.post("/api/v1/copy_weights", json=slot).json()["tinker_path"]
    assert placed == f"tinker://{session_of(trainer)}:train:7/weights/source"
    assert wire.post("/api/v1/copy_weights", json=slot).json()["tinker_path"] == placed
    assert wire.post("/api/v1/copy_weights", json=slot | {"model_seq_id": 0}).status_code == 400
    # Somebody else's weights need a key of theirs.
    theirs = {"X-API-Key": tinker_server.add_key("copier")}
    assert wire.post("/api/v1/copy_weights", json=body, headers=theirs).status_code == 404
    token = {"X-Tinker-Weights-Access-Token": tinker_server.key}
    assert wire.post("/api/v1/copy_weights", json=body, headers=theirs | token).status_code == 200
    assert wire.post("/api/v1/copy_weights", json=slot, headers=theirs | token).status_code in (400, 404)


def test_an_unloaded_model_is_ended(wire: httpx2.Client, trainer: tinker.TrainingClient) -> None:
    model = {"model_id": trainer.model_id}
    for _ in range(2):
        promise = wire.post("/api/v1/unload_model", json=model).json()["request_id"]
        outcome = wire.post("/api/v1/retrieve_future", json={"request_id": promise}).json()
        assert outcome["model_id"] == trainer.model_id
    with pytest.raises(tinker.APIStatusError, match="ended"):
        trainer.optim_step(types.AdamParams()).result()


def test_external_weights_are_downloaded_without_a_key(
    trainer: tinker.TrainingClient, rest: tinker.RestClient, stranger: tinker.RestClient, tinker_server: Any
) -> None:
    train(trainer)
    path = trainer.save_weights_external("out", ttl_seconds=3600).result().path
    assert path == f"tinker://{trainer.model_id}/external_weights/out"
    assert listed(rest, path).checkpoint_type == "external"
    answer = rest.get_external_weights_urls(path).result()
    assert set(answer.urls) == {"adapter_model.safetensors", "adapter_config.json"}
    assert timedelta(0) < answer.expires - datetime.now(UTC) <= HOUR
    assert json.loads(httpx2.get(answer.urls["adapter_config.json"]).raise_for_status().content)["r"] == 4
    assert deserialize(httpx2.get(answer.urls["adapter_model.safetensors"]).raise_for_status().content)
    with pytest.raises(tinker.NotFoundError):
        stranger.get_external_weights_urls(path).result()
    url = answer.urls["adapter_config.json"]
    ticket = url.split("/signed/")[1].split("/")[0]
    body, _, mark = ticket.partition(".")
    forged = "0" * len(mark)
    for wrong in (f"{body}.{forged}", f"{body}x.{mark}", f".{mark}", "%00", body):
        assert httpx2.get(url.replace(ticket, wrong)).status_code in (401, 403), wrong
    assert httpx2.get(url.replace("adapter_config.json", "optimizer.safetensors")).status_code == 404
    rest.delete_checkpoint_from_tinker_path(path).result()
    assert httpx2.get(url).status_code == 404


def test_external_weights_are_encrypted_to_their_recipients(
    trainer: tinker.TrainingClient, rest: tinker.RestClient, service: tinker.ServiceClient
) -> None:
    identity, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    path = trainer.save_weights_external("secret", age_encryption_recipients=[str(identity.to_public())]).result().path
    urls = rest.get_external_weights_urls(path).result().urls
    assert set(urls) == {"adapter_model.safetensors.age", "adapter_config.json.age"}
    sealed = httpx2.get(urls["adapter_config.json.age"]).raise_for_status().content
    assert sealed.startswith(b"age-encryption.org/v1")
    assert json.loads(pyrage.decrypt(sealed, [identity]))["r"] == 4
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed, [other])
    for wrong in (["age1nonsense"], ["ssh-rsa nothing"], [str(other.to_public())] * 11):
        with pytest.raises(tinker.BadRequestError, match="age recipient"):
            service.create_lora_training_client(MODEL, rank=4).result().save_weights_external(
                "bad", age_encryption_recipients=wrong
            ).result()
    with pytest.raises((tinker.BadRequestError, tinker.RequestFailedError), match="downloaded"):
        service.create_training_client_from_state(path).result()


def test_older_sdks_get_an_archive(wire: httpx2.Client, trainer: tinker.TrainingClient) -> None:
    trainer.save_state("kept").result()
    answer = wire.get(f"/api/v1/training_runs/{trainer.model_id}/checkpoints/weights/kept/archive")
    assert answer.status_code == 302
    assert datetime.strptime(answer.headers["expires"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC) > datetime.now(
        UTC
    )
    content = httpx2.get(answer.headers["location"]).raise_for_status().content
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        assert set(archive.getnames()) == {"adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"}
        config = archive.extractfile("adapter_config.json")
        assert config is not None
        assert json.load(config)["r"] == 4


def test_a_key_of_theirs_opens_somebody_elses_weights(tinker_server: Any, trainer: tinker.TrainingClient) -> None:
    train(trainer)
    path = trainer.save_state("private").result().path
    expected = trainer.forward(DATA, "cross_entropy").result().loss_fn_outputs[0]["logprobs"].tolist()
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.add_key("guest")) as guest:
        with pytest.raises(tinker.NotFoundError):
            guest.create_training_client_from_state(path).result()
        opened = guest.create_training_client_from_state_with_optimizer(
            path, weights_access_token=tinker_server.key
        ).result()
        assert opened.forward(DATA, "cross_entropy").result().loss_fn_outputs[0]["logprobs"].tolist() == expected
        rest = tinker.RestClient(base_url=tinker_server.url, api_key=tinker_server.add_key("guest"))
        copy = rest.copy_weights(path, "proj", weights_access_token=tinker_server.key).result()
        assert listed(rest, copy).tinker_path == copy
        with pytest.raises(tinker.AuthenticationError):
            rest.copy_weights(path, "proj", weights_access_token="tml-nobodys-key").result()
