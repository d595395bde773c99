"""The first journey on the embedded model: from the address that `anubhav serve` prints to a snippet to take away."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
from playwright.sync_api import Browser
from windows import Watched, ask

from anubhav.backends.torch.files.convert import convert_gguf
from anubhav.catalog.library import Library

MODEL = "smollm2-135m-instruct"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """That signs in, once."""
    data = Path(os.environ.get("ANUBHAV_DATA_DIR") or platformdirs.user_data_dir("anubhav"))
    Library(data / "models").pull(MODEL, convert_gguf, print)
    command = [sys.executable, "-m", "anubhav", "serve", "--port", "0", "--model", MODEL]
    command += ["--data-dir", str(tmp_path / "data"), "--models-dir", str(data / "models")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = (re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line) for line in process.stdout)
        yield next(found[0] for found in told if found)
        process.terminate()
        process.stdout.read()


def test_a_newcomer_talks_to_the_real_model(address: str, browser: Browser, watched: list[Watched]) -> None:
    begun, clicks = time.perf_counter(), 0
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    watched.append(Watched(page))
    page.goto(address)
    for step in ("nav >> text=Playground", "#request-ways summary", "text=Copy Python"):
        if step.startswith("#request"):
            ask(page, "What is the capital of France?", temperature="0", max_tokens="24")
            assert "Paris" in page.inner_text("li.assistant .said")
        page.click(step)
        clicks += 1
    page.wait_for_selector("text=Copied")
    snippet = page.evaluate("navigator.clipboard.readText()")
    context.close()
    assert "capital of France" in snippet
    compile(snippet, "snippet", "exec")
    assert clicks <= 4
    assert time.perf_counter() - begun < 60
