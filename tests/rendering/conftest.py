"""The real SmolLM2's renderer (pulled into the data folder the first time), and transformers' reading of its files."""

import os
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from anubhav.catalog.library import Library
from anubhav.rendering.renderer import Renderer


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    from anubhav.backends.torch.files.convert import convert_gguf

    data = Path(os.environ.get("ANUBHAV_DATA_DIR") or platformdirs.user_data_dir("anubhav"))
    return Library(data / "models").pull("smollm2-135m-instruct", convert_gguf, print).folder


@pytest.fixture(scope="session")
def renderer(smollm2_folder: Path) -> Renderer:
    return Renderer(smollm2_folder)


@pytest.fixture(scope="session")
def reference(smollm2_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2_folder)
