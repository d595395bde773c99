"""Side turns are told by how generators of titles and the like begin, in whatever case."""

import pytest

from anubhav.http.fields import Spoken
from anubhav.http.identity import identify

SIDE = [
    "You are a TITLE generator.",
    "Write a short, catchy\ttitle for it",
    "Conversation Title:",
    "### Task:\nGenerate follow-ups",
    "### task: suggest questions",
    "Find 1-3 broad tags",
    "Provide a detailed summary of our conversation",
    "Context checkpoint compaction",
]
MAIN = ["What would you cook?", "A summary of the plot, please", "Tags and titles of the books", "generate a haiku"]


@pytest.mark.parametrize(("said", "turn"), [(text, "side") for text in SIDE] + [(text, "main") for text in MAIN])
def test_side_turns_are_known_by_their_first_words(said: str, turn: str) -> None:
    for role in ("system", "user"):
        assert identify({}, Spoken(), [(role, said)]).turn == turn
