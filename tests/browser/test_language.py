"""A browser that asks for Hindi gets it, scripts included; the switch in the bar is kept and needs no JavaScript."""

from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext
from windows import Watched


def test_a_browser_that_asks_for_hindi_gets_it(
    open_browser: Callable[..., BrowserContext], watched: list[Watched]
) -> None:
    page = open_browser(locale="hi-IN", viewport={"width": 360, "height": 740}).new_page()
    watched.append(Watched(page))
    page.goto("/")
    page.wait_for_selector("html.js")
    assert page.get_attribute("html", "lang") == "hi"
    assert page.inner_text("h1") == "मुखपृष्ठ"
    assert page.inner_text("details.ways summary") == "यही CLI, Python या curl से"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    violations = Axe().run(page).response["violations"]
    assert not [one["id"] for one in violations if one["impact"] in ("serious", "critical")]
    page.keyboard.press("?")
    assert "किसी पृष्ठ या आईडी पर जाएँ" in page.inner_text("dialog")
    page.keyboard.press("Escape")
    page.click("a[hreflang=en]")
    page.wait_for_selector("html[lang=en]")
    assert page.inner_text("h1") == "Home"


def test_the_switch_needs_no_javascript_and_is_kept(open_browser: Callable[..., BrowserContext]) -> None:
    page = open_browser(java_script_enabled=False).new_page()
    page.goto("/sessions/visit-1?tenant=local")
    page.click("a[hreflang=hi]")
    assert page.url.endswith("/sessions/visit-1?tenant=local")
    assert page.get_attribute("html", "lang") == "hi"
    page.goto("/episodes/ep_none")
    assert page.inner_text("main a") == "मुखपृष्ठ"
