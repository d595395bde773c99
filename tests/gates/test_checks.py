import pytest

from anubhav.gates.checks import contains


@pytest.mark.parametrize(
    ("reply", "expected", "right"),
    [
        ("Within 42 days.", "42", True),
        ("Within 142 days.", "42", False),
        ("Within 421 days.", "42", False),
        ("It costs 6.40 euros.", "6.40", True),
        ("It costs 6.40.", "6.40", True),
        ("It costs 6.40 euros.", "6", False),
        ("It costs 16,40 euros.", "40", False),
        ("The answer is 6.", "6", True),
        ("copper   HERON club", "Copper Heron", True),
        ("That is nice.", "ice", False),
        ("Ice.", "ice", True),
        ("anything", "", False),
    ],
)
def test_contains_finds_whole_words_and_numbers(reply: str, expected: str, right: bool) -> None:
    assert contains(reply, expected) is right
