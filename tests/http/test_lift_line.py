"""The pages' line on what learning brought: a figure with its interval and people, or why there is none."""

from anubhav.flows.trying import Lift
from anubhav.http.console.words import lift_line
from anubhav.types.releases import Difference


def test_a_figure_is_shown_with_its_interval_and_people() -> None:
    overall = Difference((40, 12), (0.5, 0.1), 0.4, 0.15, 0.65)
    line = lift_line(Lift("default", 10, 0.0, overall, (), ""))
    assert (line["figure"], line["why"]) == ("+0.40", "40 people against 12 held back")
    assert (line["bar"]["low"], line["bar"]["high"], line["bar"]["sign"]) == ("+0.15", "+0.65", "up")


def test_without_a_figure_the_page_says_why() -> None:
    line = lift_line(Lift("default", 0, 0.0, None, (), "nobody is held back"))
    assert (line["figure"], line["why"]) == ("", "nobody is held back")
