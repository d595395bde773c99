"""The pictures in docs/images, of the tests' house after some days: `make pictures`, then look at each of them."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_model import write_model
from loopback import Loopback, hosted
from PIL import Image
from playwright.sync_api import BrowserContext, Page
from seeds import QUESTION, grow, judge_much, refuse, seed
from windows import ask

from anubhav.flows.house import House
from anubhav.training.client import RunClient
from anubhav.types.arrays import floats, ints
from anubhav.types.quotas import Quota
from anubhav.types.training import Datum, LoraSpec, OptimParams

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COLOURS = 256
WIDE, NARROW, HIGHEST = 1180, 360, 1500


def converse(page: Page) -> None:
    ask(page, QUESTION, temperature="0.9", max_tokens="60", n="3")
    page.click("text=▼ Bad >> nth=0")


def see_curves(page: Page) -> None:
    page.wait_for_selector("#charts canvas")


def plan(page: Page) -> None:
    for name, value in {"model": "kimi-k2", "gpus": "64", "sequence": "4096", "batch": "64"}.items():
        page.fill(f"[name={name}]", value)
    page.click("text=Plan it")
    page.wait_for_selector("text=The best layout", timeout=280_000)


@dataclass(frozen=True)
class Picture:
    name: str
    path: str
    act: Callable[[Page], None] = lambda page: None
    scheme: str = "light"
    wide: int = WIDE
    most: int = HIGHEST
    locale: str = "en-GB"


PICTURES = (
    Picture("home", "/", most=860),
    Picture("playground", "/playground", converse),
    Picture("home-hindi", "/", most=860, locale="hi-IN"),
    Picture("review-narrow", "/review", wide=NARROW),
    Picture("feedback", "/feedback", most=1180),
    Picture("rewards", "/rewards"),
    Picture("verdict-dark", "/gates/{lap}", scheme="dark"),
    Picture("releases-dark", "/releases", scheme="dark", most=1180),
    Picture("compare-dark", "/training_runs/compare?run={run}&run={other}", see_curves, scheme="dark", most=1180),
    Picture("models-narrow", "/models", wide=NARROW, most=1180),
    Picture("checkpoint", "/checkpoints/{checkpoint}"),
    Picture("keys", "/keys?tenant=shop"),
    Picture("audit-dark", "/admin?before=999999", scheme="dark"),
    Picture("plan", "/plan", plan, most=1180),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("pictures")
    write_model(folder / "tiny")
    with hosted(folder) as loopback:
        loopback.run(seed(loopback.house))
        loopback.run(judge_much(loopback.house))
        loopback.run(refuse(loopback.house))
        for rate in (0.05, 0.2):
            loopback.run(learn(loopback.house, rate))
        loopback.run(loopback.keyring.add("shop", "the web shop's widget", scopes=frozenset({"sample"})))
        loopback.run(loopback.keyring.set_quota("shop", Quota(tokens_a_day=2_000_000, runs=2)))
        yield loopback


async def learn(house: House, rate: float) -> None:
    """A run whose loss falls, the faster the higher its rate."""
    client = await RunClient.start(house.desk, "local", "tiny", LoraSpec(rank=8), tag="taught")
    tokens = tuple(house.renderers["tiny"].encode("Returns are free for 30 days."))
    lesson = Datum(tokens[:-1], {"target_tokens": ints(tokens[1:]), "weights": floats([1.0] * (len(tokens) - 1))})
    for _ in range(40):
        await client.forward_backward([lesson], "cross_entropy")
        await client.optim_step(OptimParams(learning_rate=rate))
    await client.save("taught", "weights")


@pytest.fixture(scope="module")
def names(server: Loopback) -> dict[str, str]:
    root, _ = server.run(grow(server.house))
    runs = [one.id for one in server.run(server.house.runs.page(None, None, 4))]
    lap = server.run(server.house.laps.recent("default", 2))[0].id
    return {"lap": lap, "run": runs[3], "other": runs[2], "checkpoint": root.removeprefix("tinker://")}


@pytest.mark.parametrize("picture", PICTURES, ids=[one.name for one in PICTURES])
def test_a_picture(picture: Picture, open_browser: Callable[..., BrowserContext], names: dict[str, str]) -> None:
    page = open_browser(
        color_scheme=picture.scheme, locale=picture.locale, viewport={"width": picture.wide, "height": 740}
    ).new_page()
    page.goto(picture.path.format(**names))
    page.wait_for_load_state("networkidle")
    picture.act(page)
    page.wait_for_selector(".toast", state="detached", timeout=10_000)
    high = min(picture.most, page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": picture.wide, "height": high})
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    _few_coloured(taken).save(IMAGES / f"console-{picture.name}.png", optimize=True)


def _few_coloured(taken: Image.Image) -> Image.Image:
    """Small in bytes: the commonest colours as they are, the others as the nearest of these."""
    common = sorted(taken.getcolors(1 << 24) or [], reverse=True)[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in common for part in colour])
    return taken.quantize(palette=palette, dither=Image.Dither.NONE)
