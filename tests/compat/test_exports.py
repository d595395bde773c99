"""Checkpoints out of a server and back in: `anubhav export` and `import`, and MinT's upload, beside the stock SDK."""

import http.client
import io
import json
import os
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import tinker
from click.testing import CliRunner, Result
from tinker import types

from anubhav.cli import main

pytestmark = pytest.mark.tinker_sdk
DATA = [
    types.Datum(
        model_input=types.ModelInput.from_ints([1, 2, 3, 4, 5]),
        loss_fn_inputs={"target_tokens": [2, 3, 4, 5, 6], "weights": [1.0] * 5},
    )
]
FILES = {"adapter_config.json", "adapter_model.safetensors"}


@pytest.fixture
def service(tinker_server: Any) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as client:
        yield client


@pytest.fixture
def trainer(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return service.create_lora_training_client("tiny", rank=4, seed=1).result()


def loss_of(trainer: tinker.TrainingClient) -> float:
    return trainer.forward(DATA, "cross_entropy").result().metrics["loss:sum"]


def train(trainer: tinker.TrainingClient) -> None:
    trainer.forward_backward(DATA, "cross_entropy").result()
    trainer.optim_step(types.AdamParams(learning_rate=0.05)).result()


def anubhav(server: Any, *words: str, key: str | None = None) -> Result:
    environment = {"ANUBHAV_BASE_URL": server.url, "ANUBHAV_API_KEY": key or server.key}
    return CliRunner().invoke(main, words, env=environment)


def upload(server: Any, archive: bytes, *fields: tuple[str, str], key: str | None = None) -> tuple[int, dict[str, Any]]:
    """As mint-quickstart's advanced/upload_weights.py does it, byte for byte; `fields` stand before the file."""
    boundary = f"----mint-upload-{os.urandom(8).hex()}"
    before = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    )
    preamble = (
        f"{before}--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="ckpt.tar.gz"\r\n'
        "Content-Type: application/gzip\r\n\r\n"
    ).encode()
    postamble = f"\r\n--{boundary}--\r\n".encode()
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.putrequest("POST", "/api/v1/checkpoints/upload")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
    connection.putheader("Content-Length", str(len(preamble) + len(archive) + len(postamble)))
    connection.putheader("X-API-Key", key or server.key)
    connection.endheaders()
    for part in (preamble, archive, postamble):
        connection.send(part)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def pack(folder: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.add(folder, arcname="ckpt")
    return out.getvalue()


def test_out_and_in_again_by_the_command_line(
    tinker_server: Any, service: tinker.ServiceClient, trainer: tinker.TrainingClient, tmp_path: Path
) -> None:
    train(trainer)
    path = trainer.save_state("state").result().path
    loss = loss_of(trainer)
    done = anubhav(tinker_server, "export", path, "--to", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES
    assert json.loads((tmp_path / "out/adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"
    assert not list(tmp_path.glob(".export-*"))

    made = anubhav(tinker_server, "import", str(tmp_path / "out"), "--base", "tiny", "--name", "mine")
    assert made.exit_code == 0, made.output
    imported = made.output.strip()
    assert imported.startswith("tinker://")
    assert imported.endswith("/weights/mine")
    again = service.create_training_client_from_state(imported).result()
    assert loss_of(again) == pytest.approx(loss)
    train(again)
    assert loss_of(again) < loss
    sampler = service.create_sampling_client(model_path=imported).result()
    sampled = sampler.sample(types.ModelInput.from_ints([1, 2]), 1, types.SamplingParams(max_tokens=2)).result()
    assert len(sampled.sequences[0].tokens) >= 1


def test_what_an_export_refuses(tinker_server: Any, trainer: tinker.TrainingClient, tmp_path: Path) -> None:
    path = trainer.save_weights_for_sampler("s").result().path
    stranger = tinker_server.add_key("stranger")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note").write_text("mine")
    for words, key, message in [
        ((path, "--to", str(tmp_path / "full")), None, "not empty"),
        ((f"{path}x", "--to", str(tmp_path / "a")), None, "no checkpoint"),
        ((path, "--to", str(tmp_path / "a")), stranger, "no checkpoint"),
        (("tinker://x", "--to", str(tmp_path / "a")), None, "not a checkpoint path"),
        ((path, "--to", str(tmp_path / "a"), "--as", "merged"), None, "no model called 'tiny'"),
    ]:
        done = anubhav(tinker_server, "export", *words, key=key)
        assert done.exit_code == 1
        assert message in done.output
    assert [entry.name for entry in tmp_path.iterdir()] == ["full"]
    assert (tmp_path / "full/note").read_text() == "mine"


def test_mints_upload(
    tinker_server: Any, service: tinker.ServiceClient, trainer: tinker.TrainingClient, tmp_path: Path
) -> None:
    train(trainer)
    path = trainer.save_state("state").result().path
    anubhav(tinker_server, "export", path, "--to", str(tmp_path / "out"))
    status, answer = upload(tinker_server, pack(tmp_path / "out"))
    assert status == 200
    assert answer["checkpoint_id"] == "weights/imported"
    resumed = service.create_lora_training_client("tiny", rank=4).result()
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # MinT's own example calls it
        resumed.load_state(answer["path"]).result()
    assert loss_of(resumed) == pytest.approx(loss_of(trainer))
    _, named = upload(tinker_server, pack(tmp_path / "out"), ("base_model", "tiny"), ("name", "b"))
    assert named["path"].endswith("/weights/b")


def test_what_an_upload_refuses(tinker_server: Any, tmp_path: Path) -> None:
    def linked() -> bytes:
        (tmp_path / "link").mkdir()
        (tmp_path / "link/adapter_config.json").symlink_to("/etc/passwd")
        return pack(tmp_path / "link")

    for archive, fields, wanted in [
        (b"", (), 400),
        (b"\r\n--\r\n", (), 400),
        (linked(), (), 400),
        (b"x", (("name", "../up"),), 400),
    ]:
        status, answer = upload(tinker_server, archive, *fields)
        assert (status, bool(answer["error"]["hint"])) == (wanted, True), answer
    assert upload(tinker_server, b"", key="tml-nobody")[0] == 401


def test_mints_interpolation(tinker_server: Any, service: tinker.ServiceClient, trainer: tinker.TrainingClient) -> None:
    """The wire as mindlab-toolkit 0.2.0 speaks it (mint/_mintx.py)."""
    start = trainer.save_state("start").result().path
    train(trainer)
    end = trainer.save_weights_for_sampler("end").result().path
    body = {
        "source_paths": [start, end],
        "coefficients": [0.25, 0.75],
        "output_path": None,
        "output_checkpoint_type": "sampler",
        "type": "mint_interpolate_checkpoints",
    }
    headers = {"X-API-Key": tinker_server.key}
    with httpx2.Client(base_url=f"{tinker_server.url}/api/v1", headers=headers) as wire:
        future = wire.post("/mint/checkpoints/interpolate", json=body).json()
        made = wire.post("/retrieve_future", json=future).json()
        short = wire.post("/mint/checkpoints/interpolate", json=body | {"coefficients": [1.0]})
    assert made["path"].endswith("/sampler_weights/interpolated")
    assert {name: value for name, value in made.items() if name != "path"} == {
        "checkpoint_type": "sampler",
        "source_paths": [start, end],
        "coefficients": [0.25, 0.75],
        "has_rank_shards": False,
        "type": "mint_interpolate_checkpoints",
    }
    assert short.status_code == 400
    assert service.create_sampling_client(model_path=made["path"]).result()
