"""Every page: nothing wrong for those who use a screen reader, nothing in the console, nothing asked of other machines,
readable without JavaScript and at 360 pixels."""

from collections.abc import Callable, Mapping

import pytest
from axe_playwright_python.sync_playwright import Axe
from loopback import Loopback
from playwright.sync_api import BrowserContext, Page
from seeds import AFTER, TALKS
from windows import Watched

PAGES = (
    "/", "/playground", "/review", "/sessions", "/sessions/visit-1", "/episodes/{episode}", "/feedback", "/rewards",
    "/gates", "/gates/{lap}", "/releases",
    "/training_runs", "/training_runs/{run}", "/training_runs/compare?run={run}&run={other}", "/memory",
)  # fmt: skip


@pytest.fixture(scope="module")
def names(server: Loopback) -> Mapping[str, str]:
    episode = server.run(server.house.recorder.recent(1))[0][0].id
    lap = server.run(server.house.laps.recent("default", 1))[0].id
    runs = server.run(server.house.runs.page(None, None, 2))
    return {"episode": episode, "lap": lap, "run": runs[0].id, "other": runs[1].id}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_shuts_anybody_out(
    scheme: str, open_browser: Callable[..., BrowserContext], watched: list[Watched], names: Mapping[str, str]
) -> None:
    page = open_browser(color_scheme=scheme).new_page()
    watched.append(Watched(page))
    found = {}
    for path in PAGES:
        answer = page.goto(path.format(**names))
        assert answer is not None
        assert answer.status == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert "unsafe" not in policy
        page.wait_for_load_state("networkidle")
        # What is not about colours is the same in the dark.
        only = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
        violations = Axe().run(page, options=only).response["violations"]
        found |= {
            (path, one["id"]): one["nodes"][0]["html"] for one in violations if one["impact"] in ("serious", "critical")
        }
    assert not found


def test_pages_can_be_read_without_javascript_on_a_phone(
    open_browser: Callable[..., BrowserContext], names: Mapping[str, str]
) -> None:
    page = open_browser(java_script_enabled=False, viewport={"width": 360, "height": 740}).new_page()
    told = {
        "/": ("What answers now", "Last answers"),
        "/sessions/visit-1": (TALKS[0][0], TALKS[0][1]),
        "/episodes/{episode}": ("Where it came from", "Judgements"),
        "/releases": ("History", "target-shop improved: 0.62 → 0.88"),
        "/review": (TALKS[1][1],),
        "/training_runs/{run}": ("Operations", "Step", "Events"),
        "/training_runs/compare?run={run}&run={other}": ("First → last", "learning_rate"),
        "/feedback": ("Raters of default", TALKS[0][0], "good"),
        "/rewards": ("Reward model", "judgements learned from"),
        "/gates/{lap}": ("target-shop improved: 0.62 → 0.88", AFTER, "target-shop"),
    }
    for path in PAGES:
        page.goto(path.format(**names))
        text = page.inner_text("body")
        assert all(part in text for part in told.get(path, ())), path
        assert page.locator("noscript").inner_text() if path != "/review" else True
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_a_page_for_nobody_and_of_nothing(open_browser: Callable[..., BrowserContext], server: Loopback) -> None:
    page = open_browser(signed_in=False).new_page()
    for path in ("/", "/review", "/sessions/visit-1"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 401
        assert "Sign in" in page.inner_text("h2")
        assert AFTER not in page.content()
    page = open_browser().new_page()
    answer = page.goto("/episodes/ep_none")
    assert answer is not None
    assert answer.status == 404
    assert "There is no reply" in page.inner_text("h1")


def test_keys_lead_everywhere(page: Page) -> None:
    page.goto("/")
    page.wait_for_selector("html.js")
    page.keyboard.press("?")
    assert "jump to a page" in page.inner_text("dialog")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.wait_for_url("**/releases")
    page.wait_for_selector("html.js")
    page.keyboard.press("Control+k")
    page.keyboard.type("visit-1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sessions/visit-1")
    page.wait_for_selector("html.js")
    page.click("button.id >> nth=0")
    page.wait_for_selector(".toast")
    assert page.evaluate("navigator.clipboard.readText()").startswith("visit-")
