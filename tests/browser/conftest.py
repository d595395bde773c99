"""Debian's Chromium before the whole house over the fake backend. A browser of our own and not a plugin's: its loop
ends with each file, since other tests run loops of theirs in the same thread."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_model import write_model
from loopback import Loopback, hosted
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from seeds import seed
from windows import OPERATOR, Watched

CHROMIUM = shutil.which("chromium")
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        lacking = pytest.mark.skip(reason="Chromium is not installed: apt-get install --no-install-recommends chromium")
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(lacking)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """With conversations, judgements, two releases and a run."""
    folder = tmp_path_factory.mktemp("browser")
    write_model(folder / "tiny")
    with hosted(folder) as loopback:
        loopback.run(seed(loopback.house))
        yield loopback


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_ARGUMENTS])
        yield browser
        browser.close()


@pytest.fixture
def open_browser(server: Loopback, browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """A signed-in window, as the keywords of playwright's contexts want it."""
    opened: list[BrowserContext] = []

    def open_one(*, signed_in: bool = True, **wanted: object) -> BrowserContext:
        context = browser.new_context(base_url=server.url, **wanted)  # pyright: ignore[reportArgumentType]
        context.set_default_timeout(15_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        if signed_in:
            ticket = server.keyring.issue_ticket(OPERATOR)
            context.add_cookies([{"name": "anubhav", "value": ticket, "url": server.url}])
        opened.append(context)
        return context

    yield open_one
    for context in opened:
        context.close()


@pytest.fixture
def page(open_browser: Callable[..., BrowserContext], watched: list[Watched]) -> Page:
    page = open_browser().new_page()
    watched.append(Watched(page))
    return page


@pytest.fixture
def watched() -> Iterator[list[Watched]]:
    """The pages of the test, checked at its end."""
    pages: list[Watched] = []
    yield pages
    for page in pages:
        page.check()


@pytest.fixture
def stopwatch() -> Callable[[], float]:
    begun = time.perf_counter()
    return lambda: time.perf_counter() - begun
