"""Merged weights and GGUF made by the server: byte for byte what `anubhav export` writes, for whoever may have them."""

import io
import tarfile
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tinker
from click.testing import CliRunner
from lessons_for_tinker import LESSON
from loopback import Loopback
from tinker import types

from anubhav.cli import main

pytestmark = pytest.mark.tinker_sdk


@pytest.fixture(scope="module")
def saved(llama_server: tuple[Loopback, Path]) -> str:
    """The path of a checkpoint that something was learnt in."""
    server, _ = llama_server
    with tinker.ServiceClient(base_url=server.url, api_key=server.key) as service:
        trainer = service.create_lora_training_client("tiny", rank=4, seed=1, train_unembed=False).result()
        trainer.forward_backward([LESSON], "cross_entropy").result()
        trainer.optim_step(types.AdamParams(learning_rate=0.05)).result()
        return trainer.save_weights_for_sampler("taught").result().path


def made(http: httpx2.Client, path: str, form: str) -> dict[str, Any]:
    """The export, when it is done or has failed."""
    asked = http.post(f"/v1/checkpoints/{path.removeprefix('tinker://')}/exports", json={"form": form})
    assert asked.status_code == 202, asked.text
    for _ in range(600):
        found = http.get(f"/v1/exports/{asked.json()['id']}").json()
        if found["state"] in ("done", "failed"):
            return found
        time.sleep(0.1)
    raise AssertionError("it was never done")


def written(server: Loopback, base: Path, path: str, form: str, to: Path) -> Path:
    """By the command line."""
    words = ["export", path, "--to", str(to), "--as", form, "--base", str(base)]
    done = CliRunner().invoke(main, words, env={"ANUBHAV_BASE_URL": server.url, "ANUBHAV_API_KEY": server.key})
    assert done.exit_code == 0, done.output
    return to


def test_merged_weights_are_those_of_the_command_line(
    llama_server: tuple[Loopback, Path], saved: str, tmp_path: Path
) -> None:
    server, base = llama_server
    mine = written(server, base, saved, "merged", tmp_path / "mine")
    with httpx2.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=60) as http:
        one = made(http, saved, "merged")
        assert (one["state"], one["failure"]) == ("done", "")
        answer = http.get(one["file"])
        assert answer.headers["content-disposition"] == 'attachment; filename="taught-merged.tar"'
        assert int(answer.headers["content-length"]) == len(answer.content)
        with tarfile.open(fileobj=io.BytesIO(answer.content), mode="r:") as archive:
            theirs = {member.name: archive.extractfile(member).read() for member in archive}  # pyright: ignore
        assert {file.name for file in mine.iterdir()} == theirs.keys()
        assert theirs["model.safetensors"] == (mine / "model.safetensors").read_bytes()
        assert theirs["model.safetensors"] != (base / "model.safetensors").read_bytes()
        assert http.delete(f"/v1/exports/{one['id']}").json() == {"id": one["id"], "deleted": True}
        assert http.get(one["file"]).status_code == 404


def test_gguf_is_that_of_the_command_line_and_can_be_fetched_in_parts(
    llama_server: tuple[Loopback, Path], saved: str, tmp_path: Path
) -> None:
    server, base = llama_server
    mine = written(server, base, saved, "gguf", tmp_path / "mine") / "adapter.gguf"
    with httpx2.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=60) as http:
        one = made(http, saved, "gguf")
        assert http.get(one["file"]).content == mine.read_bytes()
        part = http.get(one["file"], headers={"range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, b"GGUF")
        stranger = {"x-api-key": server.add_key("stranger")}
        assert http.get(one["file"], headers=stranger).status_code == 404
        place = f"/v1/checkpoints/{saved.removeprefix('tinker://')}/exports"
        assert http.post(place, json={"form": "gguf"}, headers=stranger).status_code == 404
        assert http.post(place, json={"form": "gguf", "to": "/etc"}).status_code == 400
        assert http.get("/v1/exports", headers=stranger).json() == {"data": []}
        tenant = {"x-api-key": server.add_key("local")}
        assert http.post(place, json={"form": "merged"}, headers=tenant).status_code == 403
        assert http.post(place, json={"form": "gguf"}, headers=tenant).json()["id"] == one["id"]
