"""What tests do in a window, and what no page may do."""

from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from anubhav.types.models import Principal

OPERATOR = Principal("local", "key_browser", operator=True)


class Watched:
    """What a page must not do: complain, or ask anybody but this machine."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self.abroad: list[str] = []
        self.allowed: tuple[str, ...] = ()
        """Complaints that the test is about."""
        page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        page.on("request", self._see)

    def _see(self, request: object) -> None:
        address = urlsplit(getattr(request, "url", ""))
        if address.scheme not in ("data", "blob", "about") and address.hostname != "127.0.0.1":
            self.abroad.append(address.geturl())

    def check(self) -> None:
        assert not self.abroad
        assert not [one for one in self.complaints if not any(part in one for part in self.allowed)]


def ask(page: Page, text: str, **settings: str) -> None:
    """In the playground, until it is answered."""
    for name, value in settings.items():
        page.fill(f"[name={name}]", value)
    page.fill("#words", text)
    page.keyboard.press("Enter")
    page.wait_for_selector("li.assistant:last-child:not([aria-busy])")


def look_closely(page: Page) -> None:
    """Nobody is shut out, and nothing is wider than a phone."""
    page.wait_for_load_state("networkidle")
    found = Axe().run(page).response["violations"]
    assert not [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
    size = page.viewport_size
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    if size:
        page.set_viewport_size(size)
