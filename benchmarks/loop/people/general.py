"""What anybody knows: nobody asks it here and nobody teaches it, so a method that loses it has forgotten."""

from anubhav.cli.demo.general import QUESTIONS
from anubhav.gates.checks import contains
from benchmarks.loop.people.task import Item, one_question

NAME = "general"
TOKENS = 32
_MORE = (
    ("What is the capital of Portugal?", "Lisbon"),
    ("What is the capital of Egypt?", "Cairo"),
    ("What is the capital of Greece?", "Athens"),
    ("What is the capital of Russia?", "Moscow"),
    ("What is the capital of China?", "Beijing"),
    ("How many days are in a week?", "seven"),
    ("How many legs does a spider have?", "eight"),
    ("What color is the sky on a clear day?", "blue"),
    ("What color do you get from blue and yellow?", "green"),
    ("What is the opposite of up?", "down"),
    ("What is the opposite of big?", "small"),
    ("What do cows drink as calves?", "milk"),
    ("What gas do people breathe in to live?", "oxygen"),
    ("Which planet do we live on?", "Earth"),
    ("Which planet is known as the red planet?", "Mars"),
    ("What language is spoken in Germany?", "German"),
    ("What language is spoken in France?", "French"),
    ("What animal barks?", "dog"),
    ("In which country is the Eiffel Tower?", "France"),
    ("Which season comes after winter?", "spring"),
)
_EXPECTED = dict((*QUESTIONS, *_MORE))


def questions() -> list[Item]:
    return [one_question(NAME, expected, question) for question, expected in _EXPECTED.items()]


def is_right(item: Item, text: str) -> bool:
    return contains(text, item.key)
