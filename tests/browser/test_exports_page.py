"""A checkpoint taken away merged and as GGUF: asked for, followed, downloaded, removed, over the engine that merges."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Loopback, hosted
from playwright.sync_api import Page, expect
from seeds import grow
from tiny_llama import write_talking_llama
from windows import look_closely


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("llama")
    write_talking_llama(folder / "tiny")
    with hosted(folder) as loopback:
        yield loopback


def test_a_checkpoint_is_taken_away_in_other_forms(page: Page, server: Loopback, tmp_path: Path) -> None:
    _, path = server.run(grow(server.house))
    page.goto(f"/checkpoints/{path.removeprefix('tinker://')}")
    page.click("#export button")
    with page.expect_download(timeout=60_000) as waiting:
        page.click("text=Download merged", timeout=60_000)
    waiting.value.save_as(tmp_path / "merged.tar")
    with tarfile.open(tmp_path / "merged.tar") as archive:
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(archive.getnames())
    look_closely(page)
    # The tiny model's unembedding is its embedding, which llama.cpp cannot adapt.
    page.select_option("#export select", "gguf")
    page.click("#export button")
    page.wait_for_selector("#live .badge.fail", timeout=60_000)
    assert "Export it as merged" in page.inner_text("#live")
    assert page.locator("#live li").count() == 2
    page.click("#live li >> nth=1 >> button")
    expect(page.locator("#live li")).to_have_count(1)
    assert server.house.exports.list(None)[0].form == "gguf"
    page.click("summary >> nth=0")
    ways = page.inner_text("details.ways >> nth=0")
    assert f"anubhav export {path} --to FOLDER --as merged" in ways
    assert '{"form":"merged"}' in ways
