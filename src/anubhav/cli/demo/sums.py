"""Act two: a user who only clicks up or down. Can thumbs alone teach to answer sums with the bare number?"""

import random
import time
from collections.abc import Sequence
from typing import Any

import click

from anubhav.cli.demo.caller import Caller
from anubhav.cli.demo.figures import Act, measure, share

ALIAS = "sums"
Sum = tuple[int, int]
Messages = list[dict[str, str]]
_EARLIER = ((12, 3), (31, 2))
"""Sums that the user gives with their answers, so that the model sometimes hits on the form that is wanted."""
_TOKENS = 16
_FIRST, _SECOND = range(10, 41), range(1, 6)
"""Never both ways round: a sum that is held out has no twin in training."""
_GATE, _HELD_OUT = 40, 50
_PROMPTS, _SAMPLES = 40, 8


def play(caller: Caller, seed: int, laps: int) -> Act:
    """`laps` laps on thumbs for 8 sampled answers to each of 40 sums; the user knows only right from wrong."""
    started = time.monotonic()
    caller.new_scene()
    chooser = random.Random(seed)
    sums = [(a, b) for a in _FIRST for b in _SECOND if (a, b) not in _EARLIER]
    chooser.shuffle(sums)
    sealed, held_out, open_to_train = sums[:_GATE], sums[_GATE : _GATE + _HELD_OUT], sums[_GATE + _HELD_OUT :]
    caller.seal(ALIAS, [_probe(pair) for pair in sealed])
    before = _ask_held_out(caller, held_out, "sums never practised, before")
    done: list[dict[str, Any]] = []
    for lap in range(1, laps + 1):
        chosen = chooser.sample(open_to_train, _PROMPTS)
        up, total = _thumb(caller, chosen, f"lap {lap} of {laps}: answers to judge")
        click.echo(f"  {up} thumbs up, {total - up} down. A lap of learning:")
        done.append(caller.learn(ALIAS))
    after = _ask_held_out(caller, held_out, "sums never practised, after")
    return measure(before, after, done, time.monotonic() - started)


def _thumb(caller: Caller, chosen: Sequence[Sum], label: str) -> tuple[int, int]:
    replies = caller.ask(
        ALIAS, [_messages(pair) for pair in chosen], label, n=_SAMPLES, temperature=1.0, tokens=_TOKENS
    )
    thumbs: list[dict[str, Any]] = [
        {
            "target": f"{reply.id}:{index}",
            "kind": "thumb",
            "value": int(_is_right(pair, text)),
            "rater": "demo-clicker",
        }
        for pair, reply in zip(chosen, replies, strict=True)
        for index, text in enumerate(reply.texts)
    ]
    caller.judge(thumbs)
    return sum(thumb["value"] for thumb in thumbs), len(thumbs)


def _ask_held_out(caller: Caller, held_out: Sequence[Sum], label: str) -> list[bool]:
    replies = caller.ask(ALIAS, [_messages(pair) for pair in held_out], label, tokens=_TOKENS)
    right = [_is_right(pair, reply.texts[0]) for pair, reply in zip(held_out, replies, strict=True)]
    click.echo(f"    {_question(held_out[0])}  it says: {replies[0].texts[0]!r}   right: {share(right):.0%}")
    return right


def _messages(pair: Sum) -> Messages:
    turns: Messages = []
    for earlier in _EARLIER:
        turns += [{"role": "user", "content": _question(earlier)}, {"role": "assistant", "content": str(sum(earlier))}]
    return [*turns, {"role": "user", "content": _question(pair)}]


def _question(pair: Sum) -> str:
    return f"{pair[0]}+{pair[1]}="


def _is_right(pair: Sum, text: str) -> bool:
    return text.strip() == str(sum(pair))


def _probe(pair: Sum) -> dict[str, Any]:
    return {"suite": "target-sums", "check": "exact", "messages": _messages(pair), "expected": str(sum(pair))}
