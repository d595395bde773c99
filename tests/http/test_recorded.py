"""Sentences that rooms recorded in English are shown in Hindi; every template is still what some room says."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from anubhav.gates.judge import judge
from anubhav.http.console.language import _VISIT, Visit, gettext
from anubhav.http.console.recorded import TEMPLATES, recorded
from anubhav.releases.shadows import Shadowed
from anubhav.types.experience import Score

SOURCE = Path(__file__).parents[2] / "src" / "anubhav"
LATIN = re.compile(r"[A-Za-z]{3,}")


@pytest.fixture(autouse=True)
def hindi() -> Iterator[None]:
    before = _VISIT.set(Visit("hi", "/"))
    yield
    _VISIT.reset(before)


def scores(suite: str, *pairs: tuple[float, float]) -> list[Score]:
    return [Score(f"pr_{number}", suite, was, now) for number, (was, now) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("measured", "outcome"),
    [
        (scores("target-shop", *[(0.0, 1.0)] * 40), "pass"),
        (scores("target-shop", *[(0.0, 1.0), (1.0, 0.0)] * 6), "inconclusive"),
        (scores("target-shop", (0.0, 1.0)), "inconclusive"),
        (scores("guard-repairs", *[(1.0, 0.0)] * 30), "fail"),
        (scores("guard-safety", *[(1.0, 0.0)] * 30) + scores("guard-length", *[(1.0, 0.0)] * 30), "fail"),
        ([], "inconclusive"),
    ],
)
def test_verdicts_are_told_in_hindi(measured: list[Score], outcome: str) -> None:
    verdict = judge(measured)
    assert verdict.outcome == outcome
    told = recorded(verdict.reason)
    assert told != verdict.reason
    assert LATIN.findall(re.sub(r"(target|guard)-\w+", "", told)) == []
    assert re.findall(r"\d+\.\d+", told) == re.findall(r"\d+\.\d+", verdict.reason)


def test_a_sentence_in_a_sentence_is_told_too() -> None:
    shadowed = Shadowed(30, (4, 0), 0.001, (0.1, 0.4), (-0.3, -0.4, -0.2), (9.0, 9.0), (None, None))
    told = recorded(f"The candidate was refused: it fails where the release does not: {shadowed.describe()}")
    assert told.startswith("उम्मीदवार अस्वीकार हुआ: जहाँ रिलीज़")
    assert LATIN.findall(told) == []
    assert "-0.40 से -0.20" in told


def test_what_people_wrote_is_left_as_it_is() -> None:
    for text in ("answers got worse", "a {brace} and; a semicolon", "", "my shop got worse: it is slow"):
        assert recorded(text) == text
    assert recorded("words taken out; the model's version lost 30, tuesday").endswith("lost 30, tuesday")


def test_english_is_shown_as_it_was_recorded() -> None:
    _VISIT.set(Visit("en", "/"))
    for template in TEMPLATES:
        assert recorded(template) == template


def test_every_template_is_what_some_room_says() -> None:
    """Its fixed words stand in the source, outside of the pages."""
    said = " ".join(
        re.sub(r'"\s*\n\s*f?"', "", file.read_text("utf-8"))
        for file in SOURCE.rglob("*.py")
        if "console" not in file.parts
    )
    for template in TEMPLATES:
        for part in re.split(r"\{\w+\}|, ", template):
            assert part.strip(" :,()") in said, template
        assert gettext(template, **dict.fromkeys(re.findall(r"\{(\w+)\}", template), "7"))
