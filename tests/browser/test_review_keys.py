"""The review queue's keys as one wants them, and tags."""

import pytest
from loopback import Loopback
from playwright.sync_api import Page, expect
from seeds import say


@pytest.fixture(scope="module", autouse=True)
def pairs(server: Loopback) -> None:
    for number in range(4):
        server.run(say(server.house, f"Which {number}?", f"This {number}.", f"That {number}.", alias="default"))


def test_keys_are_changed_and_stay(page: Page) -> None:
    page.goto("/review")
    page.wait_for_selector("#item article")
    page.click("#remap")
    page.click("[aria-label='Another key for Skip']")
    page.keyboard.press("?")
    page.wait_for_selector("text=take another")
    page.keyboard.press("b")
    expect(page.locator("dialog tr", has_text="Skip").locator("kbd")).to_have_text("b")
    expect(page.locator("dialog tr", has_text="Both bad").locator("kbd")).to_have_text("none")
    page.keyboard.press("Escape")
    page.reload()
    page.wait_for_selector("#item article")
    page.keyboard.press("s")
    expect(page.locator("#count")).to_have_text(counted(page, 1))
    page.keyboard.press("b")
    expect(page.locator("#count")).to_have_text(counted(page, 2))
    page.click("#remap")
    page.click("text=As at first")
    expect(page.locator("dialog tr", has_text="Skip").locator("kbd")).to_have_text("s")


def counted(page: Page, place: int) -> str:
    return f"{place} of {page.locator('#progress').get_attribute('max')}"


def test_tags_go_with_the_judgement(page: Page, server: Loopback) -> None:
    page.goto("/review")
    page.wait_for_selector("#item article")
    while page.locator("#item article").count() < 2:
        page.keyboard.press("s")
    page.keyboard.press("t")
    page.keyboard.type("too long, price")
    page.keyboard.press("Enter")
    assert page.locator("#item .tag").all_inner_texts() == ["too long", "price"]
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=judgements were sent")
    found = server.run(server.house.conversations.judgements("default", None, 1))[0][0].feedback
    assert (found.kind, found.tags) == ("comparison", ("too long", "price"))
    page.goto("/feedback")
    assert page.locator("#stream ~ article").first.locator(".tag").all_inner_texts() == ["too long", "price"]
