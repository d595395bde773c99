"""The playground: answers side by side and many at once, stopped, asked again, and their tokens."""

import json
import re
from typing import Any

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


def test_editing_makes_a_branch_and_nothing_is_lost(page: Page) -> None:
    page.goto("/playground")
    ask(page, "first", max_tokens="3")
    ask(page, "second", max_tokens="3")
    page.click("text=Edit >> nth=0")
    page.keyboard.press("Escape")
    assert page.locator("#talk > li").count() == 4
    page.click("text=Edit >> nth=1")
    ask(page, "another second")
    said = page.locator("#talk > li.user .said")
    assert said.all_inner_texts() == ["first", "another second"]
    assert "branch 2 of 2" in page.inner_text("#talk > li.user:nth-child(3)")
    page.click("[aria-label='The branch before']")
    assert said.all_inner_texts() == ["first", "second"]
    assert page.locator("#talk > li").count() == 4


def test_an_answer_is_held_to_a_schema(page: Page) -> None:
    page.goto("/playground")
    page.click("text=Tools and schema")
    page.fill("[name=schema]", '{"type": "obj')
    page.fill("#words", "how many?")
    page.keyboard.press("Enter")
    assert page.locator("#talk > li").count() == 0
    assert page.evaluate("document.activeElement.name") == "schema"
    page.fill("[name=schema]", '{"enum": ["few", "many"]}')
    ask(page, "how many?", max_tokens="16")
    assert json.loads(page.inner_text("li.assistant .said")) in ("few", "many")


def test_calls_of_tools_are_shown_and_answered_by_hand(page: Page) -> None:
    asked: list[dict[str, Any]] = []
    call = {"id": "call_1", "type": "function", "function": {"name": "price_of", "arguments": '{"item": "tea"}'}}

    def answer(route: Route) -> None:
        asked.append(json.loads(route.request.post_data or ""))
        delta = {"content": "It is 4 euros."} if len(asked) > 1 else {"tool_calls": [{"index": 0, **call}]}
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if len(asked) > 1 else "tool_calls"}
        body = f"data: {json.dumps({'id': 'ep_x', 'choices': [choice]})}\n\ndata: [DONE]\n\n"
        route.fulfill(content_type="text/event-stream", body=body)

    page.route("**/v1/chat/completions", answer)
    page.goto("/playground")
    page.click("text=Tools and schema")
    page.fill("[name=tools]", '[{"name": "price_of", "parameters": {"type": "object"}}]')
    ask(page, "What is tea?")
    assert 'price_of({"item": "tea"})' in page.inner_text(".calls")
    page.fill("[aria-label='Result of price_of']", "4 EUR")
    page.click("text=Send the results")
    page.wait_for_selector("text=It is 4 euros.")
    assert asked[0]["tools"] == [
        {"type": "function", "function": {"name": "price_of", "parameters": {"type": "object"}}}
    ]
    assert asked[1]["messages"][1:] == [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "4 EUR"},
    ]


def test_a_conversation_is_remembered_and_its_ledger_a_click_away(page: Page) -> None:
    page.goto("/playground")
    page.check("[name=memory]")
    ask(page, "My dog is called Bruno.", max_tokens="4")
    page.click("text=what it remembers")
    page.wait_for_url("**/memory?id=*")
    assert "My dog is called Bruno." in page.inner_text("main")
