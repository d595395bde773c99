"""Models and checkpoints: badges, where a checkpoint comes from, taking it away, and its time, readers and end."""

import tarfile
from pathlib import Path

from loopback import Loopback
from playwright.sync_api import Page, expect
from seeds import grow
from windows import look_closely


def test_models_tell_licence_and_whether_they_fit(page: Page) -> None:
    page.goto("/models")
    card = page.locator("article", has=page.get_by_role("heading", name="tiny", exact=True))
    assert card.locator(".badge").all_inner_texts()[-1] == "served"
    assert "Apache-2.0" in card.inner_text()
    other = page.locator("article", has_text="smollm2-135m-instruct")
    assert "anubhav models pull smollm2-135m-instruct" in other.inner_text()
    look_closely(page)


def test_a_checkpoint_is_followed_kept_shared_taken_away_and_deleted(
    page: Page, server: Loopback, tmp_path: Path
) -> None:
    root, path = server.run(grow(server.house))
    page.goto("/checkpoints")
    assert "default answers with it" in page.inner_text("table")
    look_closely(page)
    page.keyboard.press("Control+k")
    page.keyboard.type(path)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sampler_weights/grown")
    look_closely(page)
    assert page.locator("svg.lanes circle").count() == 2
    assert page.inner_text(".lines .depth1").endswith("grown")
    with page.expect_download() as waiting:
        page.click("text=Download for PEFT")
    waiting.value.save_as(tmp_path / "taught.tar.gz")
    with tarfile.open(tmp_path / "taught.tar.gz") as archive:
        assert "adapter_model.safetensors" in archive.getnames()
    page.select_option("[name=seconds]", "604800")
    page.click("text=Set")
    expect(page.locator("dl.facts")).not_to_contain_text("never")
    page.click("#publish")
    page.wait_for_selector("text=public: every tenant may read it")
    page.click("#delete")
    page.click("text=Delete it")
    page.wait_for_url("**/checkpoints")
    assert "grown" not in page.inner_text("table")
    assert page.goto(f"/checkpoints/{path.removeprefix('tinker://')}").status == 404
    quoted = root.removeprefix("tinker://").replace("/weights/", "/weights%2F")
    assert page.goto(f"/checkpoints/{quoted}").status == 200


def test_what_answers_cannot_be_deleted(page: Page) -> None:
    page.goto("/checkpoints")
    page.click("tr:has-text('default answers with it') a >> nth=0")
    page.wait_for_selector("#delete")
    assert page.is_disabled("#delete")
    assert "while default answers" in page.inner_text("main")
