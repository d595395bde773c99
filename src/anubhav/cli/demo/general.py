"""Questions that have nothing to do with either act: does the model still answer them as it did?"""

from collections.abc import Sequence

from anubhav.cli.demo.caller import Caller
from anubhav.gates.checks import contains

_TOKENS = 32
QUESTIONS = (
    ("What is the capital of France?", "Paris"),
    ("What is the capital of Italy?", "Rome"),
    ("What is the capital of Japan?", "Tokyo"),
    ("What is the capital of Germany?", "Berlin"),
    ("What is the capital of Spain?", "Madrid"),
    ("What do bees make?", "honey"),
    ("What is the largest ocean?", "Pacific"),
    ("What is the opposite of hot?", "cold"),
    ("What is frozen water called?", "ice"),
    ("Who wrote Romeo and Juliet?", "Shakespeare"),
    ("What is the largest planet in the solar system?", "Jupiter"),
    ("What language is spoken in Brazil?", "Portuguese"),
    ("What is the tallest mountain in the world?", "Everest"),
    ("In which country are the pyramids of Giza?", "Egypt"),
    ("How many hours are in a day?", "24"),
    ("What is the opposite of day?", "night"),
    ("Name the star at the centre of our solar system.", "Sun"),
    ("What is the currency of the United States?", "dollar"),
    ("Who painted the Mona Lisa?", "Leonardo"),
    ("What organ pumps blood?", "heart"),
)


def ask(caller: Caller, aliases: Sequence[str], label: str) -> list[bool]:
    """Whether each question was answered right, alias by alias."""
    right: list[bool] = []
    for alias in aliases:
        replies = caller.ask(alias, [question for question, _ in QUESTIONS], f"{label} ({alias})", tokens=_TOKENS)
        right += [contains(reply.texts[0], expected) for reply, (_, expected) in zip(replies, QUESTIONS, strict=True)]
    return right
