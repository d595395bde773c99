"""Stock: what is served comes first, with its size from the files, and the widest type in which it leaves room."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anubhav.catalog.library import Library
from anubhav.flows import stock
from anubhav.types.models import Model


def written(folder: Path, parameters: int) -> Model:
    """A model folder whose file only says how large its tensor would be."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "hidden_size": 8}))
    header = json.dumps({"w": {"dtype": "BF16", "shape": [parameters], "data_offsets": [0, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return Model(folder.name, folder, "MIT", "folder", 4096, 100)


@pytest.mark.parametrize(
    ("memory", "fits"), [(5_000, "float32"), (4_999, "bfloat16"), (2_500, "bfloat16"), (2_499, "no")]
)
async def test_a_model_fits_by_its_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int, fits: str
) -> None:
    monkeypatch.setattr(stock, "find_memory", lambda: (memory, 0))
    house: Any = SimpleNamespace(models={"a": written(tmp_path / "a", 1000)}, library=Library(tmp_path / "models"))
    rows, told = await stock.take_stock(house)
    assert told == memory
    assert (rows[0].name, rows[0].served, rows[0].parameters, rows[0].fits) == ("a", True, 1000, fits)
    assert [(row.name, row.present, row.fits) for row in rows[1:]] == [("smollm2-135m-instruct", False, None)]


async def test_a_model_whose_files_say_nothing_has_no_size(tmp_path: Path) -> None:
    model = written(tmp_path / "b", 7)
    (model.folder / "model.safetensors").write_bytes(b"\x10")
    house: Any = SimpleNamespace(models={"b": model}, library=Library(tmp_path / "models"))
    assert (await stock.take_stock(house))[0][0].parameters is None
