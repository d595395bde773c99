from pathlib import Path

import pytest

from anubhav.catalog import mirror
from anubhav.catalog.library import Library
from anubhav.types.models import Model


@pytest.fixture
def model(tmp_path: Path, model_folder: Path) -> Model:
    return Library(tmp_path).find(str(model_folder))


def test_lists_and_gives_the_tokenizers_files(model: Model) -> None:
    listing = mirror.listing(model)
    assert [sibling["rfilename"] for sibling in listing["siblings"]] == ["config.json", "tokenizer.json"]
    assert listing["id"] == "mine"
    assert mirror.file(model, "tokenizer.json") == model.folder / "tokenizer.json"
    assert mirror.file(model, "chat_template.jinja") is None


@pytest.mark.parametrize("name", ["model.safetensors", "anubhav.json", "../mine/config.json", "", ".", "/etc/passwd"])
def test_gives_nothing_else(model: Model, name: str) -> None:
    assert mirror.file(model, name) is None


def test_the_revision_changes_with_a_file(model: Model) -> None:
    before = mirror.revision(model)
    assert len(before) == 40 and mirror.revision(model) == before
    (model.folder / "tokenizer.json").write_text('{"a": 1}')
    assert mirror.revision(model) != before
