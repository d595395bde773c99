"""The playground: answers side by side and many at once, stopped, asked again, and their tokens."""

import re

from loopback import Loopback
from playwright.sync_api import Page, Route
from windows import ask


def test_two_models_and_many_answers(page: Page) -> None:
    page.goto("/playground")
    page.fill("[name=other]", "tiny")
    page.check("[name=probabilities]")
    ask(page, "hi", n="3", max_tokens="4")
    columns = page.locator("li.assistant .beside > section")
    assert columns.count() == 2
    assert columns.locator("h3").all_inner_texts() == ["default", "tiny"]
    assert columns.nth(1).locator(".sample").count() == 3
    assert re.match(r"3 answers, (all alike|\d different)", columns.nth(1).locator(".spread summary").inner_text())
    page.click("text=/^\\d tokens$/ >> nth=0")
    assert "%" in page.locator("details[open]:not(.spread) td.num").last.inner_text()


def test_an_answer_is_edited_and_asked_again(page: Page, server: Loopback) -> None:
    page.goto("/playground")
    ask(page, "first", max_tokens="3")
    ask(page, "second", max_tokens="3")
    page.click("text=Retry >> nth=1")
    page.wait_for_selector("li.assistant:last-child:not([aria-busy])")
    page.click("text=Edit >> nth=0")
    assert page.locator("#talk > li").count() == 0
    assert page.input_value("#words") == "first"
    said = server.run(server.house.recorder.recent(3))
    assert [len(one.messages) for one, _ in said] == [3, 3, 1]


def test_a_long_answer_is_stopped(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/v1/chat/completions", hold)
    page.goto("/playground")
    page.fill("#words", "go on and on")
    page.keyboard.press("Enter")
    page.click("#stop")
    page.wait_for_selector("text=is not recorded")
    assert page.is_enabled("#ask button[type=submit]")
    assert len(held) == 1
