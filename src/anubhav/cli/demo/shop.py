"""Act one: a user corrects a dozen wrong answers about a shop, once each. Does the model answer other wordings?"""

import time
from collections.abc import Sequence

import click

from anubhav.cli.demo.caller import Caller
from anubhav.cli.demo.figures import Act, measure
from anubhav.cli.demo.questions import Question
from anubhav.errors import BadInput

ALIAS = "default"
_TOKENS = 40


def play(caller: Caller, questions: Sequence[Question]) -> Act:
    started = time.monotonic()
    caller.new_scene()
    held_out = [(text, question) for question in questions for text in question.paraphrases]
    caller.seal(ALIAS, [_probe(text, question) for text, question in held_out])
    before = _ask_held_out(caller, held_out, "other wordings, before")
    replies = caller.ask(ALIAS, [question.question for question in questions], "the questions", tokens=_TOKENS)
    wrong = [
        (question, reply)
        for question, reply in zip(questions, replies, strict=True)
        if not question.is_right(reply.texts[0])
    ]
    if not wrong:
        raise BadInput("The model answers every question right already", hint="Give it --questions it cannot know.")
    for question, reply in wrong[:2]:
        click.echo(
            f"    {question.question}\n      it says: {_short(reply.texts[0])}\n      user:    {question.answer}"
        )
    caller.judge([_correction(question, reply.id) for question, reply in wrong])
    click.echo(f"  The user corrected {len(wrong)} answers. One lap of learning:")
    laps = [caller.learn(ALIAS)]
    after = _ask_held_out(caller, held_out, "other wordings, after")
    return measure(before, after, laps, time.monotonic() - started)


def _ask_held_out(caller: Caller, held_out: Sequence[tuple[str, Question]], label: str) -> list[bool]:
    replies = caller.ask(ALIAS, [text for text, _ in held_out], label, tokens=_TOKENS)
    first, question = replies[0].texts[0], held_out[0]
    click.echo(f"    {question[0]}\n      it says: {_short(first)}")
    return [question.is_right(reply.texts[0]) for (_, question), reply in zip(held_out, replies, strict=True)]


def _probe(text: str, question: Question) -> dict[str, str]:
    return {"suite": "target-paraphrases", "check": "contains", "question": text, "expected": question.expect}


def _correction(question: Question, reply: str) -> dict[str, str]:
    return {"target": reply, "kind": "correction", "text": question.answer, "rater": "demo-corrector"}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:99]}…"
