import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from anubhav.catalog.library import Library
from anubhav.errors import BadInput, MissingPart, NotFound

SHA = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download needs: one repository, whose files are those of a folder."""

    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        names = sorted(file.name for file in self.folder.iterdir())
        if path == "/api/models/org/model" or path == f"/api/models/org/model/revision/{SHA}":
            siblings = [{"rfilename": name} for name in names]
            self.answer({"id": "org/model", "sha": SHA, "siblings": siblings, "cardData": {"license": "mit"}})
        elif path == f"/api/models/org/model/tree/{SHA}":
            sizes = [(name, (self.folder / name).stat().st_size) for name in names]
            self.answer([{"type": "file", "path": name, "size": size, "oid": "b" * 40} for name, size in sizes])
        elif path.startswith(f"/org/model/resolve/{SHA}/"):
            self.send(200, (self.folder / Path(path).name).read_bytes())
        else:
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, content: object) -> None:
        self.send(200, json.dumps(content).encode())

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        known = {"Content-Length": str(len(body)), "ETag": '"x"', "X-Repo-Commit": SHA, "Content-Type": "text/plain"}
        for name, value in {**known, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def hub(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    handler = type("Hub", (Hub,), {"folder": model_folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    yield handler
    server.shutdown()
    server.server_close()


def refuse(gguf: Path, folder: Path) -> None:
    raise AssertionError("a hub model has nothing to convert")


def test_a_hub_model_is_pulled_with_its_licence_and_without_code(
    tmp_path: Path, model_folder: Path, hub: type[Hub]
) -> None:
    (model_folder / "modeling.py").write_text("boom")
    library = Library(tmp_path / "models")
    model = library.pull("hf:org/model", refuse, print)
    assert (model.licence, model.source, model.context_length) == ("mit", "hf:org/model", 128)
    kept = {path.name for path in model.folder.iterdir()}
    assert kept == {"config.json", "model.safetensors", "tokenizer.json", "anubhav.json"}
    assert "hf:org/model" in {listing.name for listing in library.list()}


def test_a_model_with_code_is_refused_before_its_weights_are_fetched(
    tmp_path: Path, model_folder: Path, hub: type[Hub]
) -> None:
    config = json.loads((model_folder / "config.json").read_text())
    (model_folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "m.M"}}))
    with pytest.raises(BadInput, match="auto_map"):
        Library(tmp_path / "models").pull("hf:org/model", refuse, print)
    assert not any("safetensors" in path for path in hub.asked)
    assert list((tmp_path / "models").iterdir()) == []


def test_an_unknown_repository_and_a_dead_hub_are_told_apart(
    tmp_path: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(tmp_path / "models")
    with pytest.raises(NotFound, match="org/other"):
        library.pull("hf:org/other", refuse, print)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MissingPart, match="anubhav models pull hf:org/model"):
        library.pull("hf:org/model", refuse, print)
