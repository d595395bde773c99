"""Feedback, the reward model and gates: what an operator sees of what is learned, and from whom."""

import pytest
from loopback import Loopback
from playwright.sync_api import Page, expect
from seeds import AFTER, judge_much


@pytest.fixture(scope="module", autouse=True)
def judged(server: Loopback) -> None:
    server.run(judge_much(server.house))


def test_a_rater_is_looked_at_and_quarantined(page: Page) -> None:
    page.goto("/feedback")
    row = page.locator("tr", has=page.get_by_role("link", name="local/lin"))
    assert "heard" in row.inner_text() or "held out" in row.inner_text()
    row.get_by_role("link").click()
    page.wait_for_selector("text=local/lin ×")
    people = page.locator("#stream ~ article .quiet >> a[href*=rater]").all_inner_texts()
    assert len(people) == 24
    assert set(people) == {"local/lin"}
    row.get_by_role("button", name="Quarantine").click()
    expect(row.locator(".badge")).to_have_text("quarantined")
    row.get_by_role("button", name="By the record").click()
    expect(row.get_by_role("button", name="Trust")).to_be_visible()


def test_judgements_by_kind_with_what_became_of_them(page: Page) -> None:
    page.goto("/feedback")
    assert page.locator("#stream ~ article").count() == 25
    page.click("text=older")
    page.wait_for_url("**before=*")
    page.click("a:text-is('correction')")
    page.wait_for_url("**kind=correction*")
    cards = page.locator("#stream ~ article")
    assert cards.count() == 12
    assert cards.filter(has_text="waits for the next lap").count() == 9
    cards.filter(has_text="learned from in").first.locator("a[href^='/gates/']").click()
    expect(page.locator("h1")).to_contain_text("Lap of default")


def test_the_reward_model_is_drawn_and_says_where_it_was_wrong(page: Page) -> None:
    page.goto("/rewards")
    assert page.locator("svg.plot").count() == 2
    assert page.locator("svg.plot circle").count() >= 6
    page.click("text=The points >> nth=0")
    assert page.locator("section:has(#calibration) tbody tr").count() >= 2
    names = page.locator("section:has(#leanings) tbody td:first-child").all_inner_texts()
    assert names == ["length", "formatting", "flattery", "hedging", "refusal", "forging"]
    wrong = page.locator("section:has(#wrong) article")
    assert wrong.count() >= 1
    assert "a chance of" in wrong.first.inner_text()


def test_a_verdict_is_read_with_what_was_said(page: Page) -> None:
    page.goto("/gates")
    page.click("article >> text=evidence >> nth=0")
    page.wait_for_url("**/gates/lap_*")
    assert "improved: " in page.inner_text("section:has(#verdict)")
    assert "nobody is held out" in page.inner_text("section:has(#verdict)")
    assert "target-shop" in page.inner_text("section:has(#suites) tbody")
    example = page.locator("[data-diff]").first
    expect(example.locator("mark").first).to_be_visible()
    assert AFTER in example.locator("[data-side=after]").inner_text()
