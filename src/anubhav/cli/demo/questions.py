"""The questions of the corrections act: read from a JSON file, and checked before an hour is spent on them."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from anubhav.errors import BadInput
from anubhav.gates.checks import contains

FORMAT = """\b
--questions FILE holds a JSON list of 2 to 100 items such as
  {"question": "How many days do I have to return an item to Zorvane?",
   "answer": "Items can be returned to Zorvane within 47 days.",
   "expect": "47",
   "paraphrases": ["How many days do I have for a return to Zorvane?", "…"]}
The user corrects each wrong reply to `question` with `answer`. The paraphrases are never trained on: a reply to one
is right when it holds `expect` (case and spaces do not matter)."""
_HINT = "See `anubhav demo --help` for the format of a questions file."


@dataclass(frozen=True, slots=True)
class Question:
    question: str
    answer: str
    expect: str
    paraphrases: tuple[str, ...]

    def is_right(self, reply: str) -> bool:
        return contains(reply, self.expect)


def load(file: Path | None) -> tuple[Question, ...]:
    """The questions in `file`, or the built-in ones; raises BadInput naming the item that is wrong."""
    source = files("anubhav.cli.demo").joinpath("questions.json") if file is None else file
    try:
        items = msgspec.json.decode(source.read_bytes(), type=list[Question])
    except (OSError, msgspec.DecodeError) as problem:
        raise BadInput(f"The questions file cannot be read: {problem}", hint=_HINT) from problem
    if not 2 <= len(items) <= 100:
        raise BadInput("The questions file is not a list of 2 to 100 items", hint=_HINT)
    for number, item in enumerate(items, start=1):
        if complaint := _complaint(item):
            raise BadInput(f"Question {number}: {complaint}", hint=_HINT)
    return tuple(items)


def _complaint(item: Question) -> str:
    if not all(text.strip() for text in (item.question, item.answer, item.expect, *item.paraphrases)):
        return "a text is empty"
    if not item.paraphrases:
        return "there are no paraphrases"
    if not item.is_right(item.answer):
        return "the answer does not hold what is expected"
    if any(item.is_right(text) for text in (item.question, *item.paraphrases)):
        return "it or a paraphrase gives away what is expected"
    if item.question in item.paraphrases:
        return "it is its own paraphrase, so nothing would be held out"
    return ""
