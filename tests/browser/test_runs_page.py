"""Runs: what happened to one and why, and several laid over each other."""

import pytest
from loopback import Loopback
from playwright.sync_api import Page, expect

from anubhav.training.client import RunClient
from anubhav.types.training import LoraSpec, OptimParams


@pytest.fixture(scope="module", autouse=True)
def runs(server: Loopback) -> None:
    async def train(rate: float) -> None:
        client = await RunClient.start(server.house.desk, "local", "tiny", LoraSpec(rank=4), tag="compared")
        for _ in range(3):
            await client.optim_step(OptimParams(learning_rate=rate))
        await client.save("kept", "weights")
        await client.end()

    for rate in (0.25, 0.5):
        server.run(train(rate))


def test_two_runs_are_laid_over_each_other(page: Page) -> None:
    page.goto("/training_runs")
    assert "0 wait for their turn" in page.inner_text("main")
    expect(page.locator("#compare")).to_be_disabled()
    page.check("input[name=run] >> nth=0")
    page.check("input[name=run] >> nth=1")
    page.click("text=Compare 2")
    page.wait_for_selector("#charts canvas")
    rates = page.locator(".chart", has_text="learning_rate")
    assert rates.locator(".u-legend .u-series").count() == 3
    page.focus("[aria-label=Smoothing]")
    page.keyboard.press("End")
    assert page.input_value("[aria-label=Smoothing]") == "0.95"
    assert page.locator("tr", has_text="learning_rate").locator("td").all_inner_texts() == [
        "learning_rate", "0.5 → 0.5", "0.25 → 0.25",
    ]  # fmt: skip


def test_a_run_tells_what_happened_to_it(page: Page, server: Loopback) -> None:
    newest = server.run(server.house.runs.page(None, None, 1))[0]
    page.goto(f"/training_runs/{newest.id}")
    assert "nothing waits" in page.inner_text("dl.facts")
    events = page.locator("h2:text-is('Events') + ul li")
    assert events.locator(".badge").all_inner_texts() == ["saved", "begun"]
    assert "tinker://" in events.first.inner_text()
    page.click("text=compare with the run before it")
    page.wait_for_selector("#charts canvas")
