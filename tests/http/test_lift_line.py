"""The status page's line on what learning brought: a figure with its interval and people, or why there is none."""

from anubhav.flows.trying import Lift
from anubhav.http.anubhav.pages import status_page
from anubhav.types.experience import Release
from anubhav.types.releases import Difference

LIVE = Release("rel_1", "default", "tinker://a", "ad_a", "promote", "ada", "better", 1.0)


def shown(lift: Lift) -> str:
    return status_page(["tiny"], [LIVE], [], [], [], [lift])


def test_a_figure_is_shown_with_its_interval_and_people() -> None:
    overall = Difference((40, 12), (0.5, 0.1), 0.4, 0.15, 0.65)
    page = shown(Lift("default", 10, 0.0, overall, (), ""))
    assert "Lift: +0.40 (95 % +0.15 … +0.65), 40 people against 12 held back" in page


def test_without_a_figure_the_page_says_why() -> None:
    assert "Lift: no figure, nobody is held back" in shown(Lift("default", 0, 0.0, None, (), "nobody is held back"))


def test_another_alias_has_no_line_here() -> None:
    assert "Lift:" not in shown(Lift("other", 0, 0.0, None, (), "nobody is held back"))
