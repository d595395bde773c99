"""A generated life: what somebody says over so many messages, and what of it is true at each of them.

Facts are stated, some are updated and some are asked to be forgotten; some questions stay open; the rest is chatter
that names people and numbers which are nobody's fact. Seeds fix everything. Wordings are in domains/, a file each.
"""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from benchmarks.memory.chatter import Chatter
from benchmarks.memory.message import Message
from benchmarks.memory.values import DOMAINS, Values

TRAIN = ("home", "work", "travel", "hobby", "school")
HELD_OUT = ("health", "money", "family", "food")
FRIENDS = ("outings",)
"""Events, told among friends (chatter-friends.toml): for training alone."""
UNSEEN = ("errands",)
"""Facts whose wordings neither rules nor weights were made with; with the talk of chatter-other.toml, nor is that."""
_HINDI = 0.15
"""Of the sentences that could be said in Hindi, the share that are."""
_ASIDE = 0.35
"""Of the facts, the share told in one breath with chatter."""
_OPENED = 0.3
_ECHO = 0.3
"""Of the facts, the share whose value the assistant repeats."""
_MEANT = 0.2
"""Of the requests to forget, the share that repeat the value."""
_STATED, _UPDATED, _FORGOTTEN = 0.6, 0.85, 0.9
"""By which share of a life it has happened."""
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Telling:
    turn: int
    """The number of the message that told it."""
    value: str


@dataclass(frozen=True, slots=True)
class Fact:
    domain: str
    name: str
    keys: tuple[str, ...]
    """A line that holds none of these words does not speak of it."""
    asks: tuple[str, ...]
    tellings: tuple[Telling, ...] = ()
    forgotten: int | None = None
    """The message that asked to forget it."""

    def value(self, turns: int) -> str | None:
        """What is true after so many messages; None before it was told and after it was to be forgotten."""
        if self.forgotten is not None and self.forgotten < turns:
            return None
        return next((told.value for told in reversed(self.tellings) if told.turn < turns), None)

    def values(self, turns: int) -> tuple[str, ...]:
        """All that were told, the latest last."""
        return tuple(told.value for told in self.tellings if told.turn < turns)


@dataclass(frozen=True, slots=True)
class Question:
    """Asked by the user and never answered."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class Life:
    messages: tuple[Message, ...]
    facts: tuple[Fact, ...]
    open: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much happens in a life."""

    turns: int
    domains: tuple[str, ...] = (*TRAIN, *HELD_OUT)
    facts: int = 16
    """That are still true at the end."""
    updates: int = 5
    forgotten: int = 3
    questions: int = 2
    talk: str = "chatter"
    """The file that chatter is drawn from."""


@dataclass
class _Thread:
    """A fact while the life is being written."""

    told: dict[str, Any]
    fact: Fact
    values: list[str] = field(default_factory=list[str])


def live(seed: int, plan: Plan) -> Life:
    """Raises ValueError for more facts than the domains hold or the turns have room for."""
    chance = Random(f"life:{seed}:{plan.turns}:{','.join(plan.domains)}")
    known = [(domain, told) for domain in plan.domains for told in read_domain(domain)]
    wanted = plan.facts + plan.forgotten
    happenings = wanted + plan.updates + plan.forgotten + plan.questions
    if wanted > len(known) or happenings * 2 > plan.turns // 2:
        raise ValueError(
            f"{wanted} facts do not fit: the domains hold {len(known)}, and {plan.turns} messages have room for "
            f"{plan.turns // 4} happenings. Ask for fewer facts, more domains or more turns."
        )
    return _Writer(chance, plan).write(chance.sample(known, wanted))


def read_domain(name: str) -> list[dict[str, Any]]:
    return tomllib.loads((DOMAINS / f"{name}.toml").read_text(encoding="utf-8"))["facts"]


class _Writer:
    def __init__(self, chance: Random, plan: Plan) -> None:
        self._chance, self._plan = chance, plan
        self._exchanges: dict[int, Callable[[int], tuple[str, str]]] = {}

    def write(self, drawn: Sequence[tuple[str, dict[str, Any]]]) -> Life:
        plan, chance = self._plan, self._chance
        values = Values(chance)
        threads = [
            _Thread(told, Fact(domain, told["name"], tuple(told["keys"]), tuple(told["asks"])))
            for domain, told in drawn
        ]
        # A value and up to two that replace it.
        for thread in threads:
            thread.values = [values.draw(thread.told["value"]) for _ in range(3)]
        self._chatter = Chatter(chance, values.used, plan.talk)
        ends = {id(thread): self._state(thread) for thread in threads}
        for at in range(plan.updates):
            thread = threads[at % plan.facts]
            ends[id(thread)] = self._update(thread, ends[id(thread)])
        for thread in threads[plan.facts :]:
            self._forget(thread, ends[id(thread)])
        questions: list[Question] = []
        for _ in range(plan.questions):
            self._ask(questions)
        messages = self._say()
        return Life(messages, tuple(thread.fact for thread in threads), tuple(questions))

    def _say(self) -> tuple[Message, ...]:
        messages: list[Message] = []
        for exchange in range(self._plan.turns // 2):
            talk = self._exchanges.get(exchange)
            pair = talk(exchange) if talk else (self._chatter.talk("user"), self._chatter.talk("assistant"))
            for role, text in zip(("user", "assistant"), pair, strict=True):
                messages.append(Message(role, text, at=len(messages) * _SECONDS))
        return tuple(messages)

    def _place(self, after: int, by: float, talk: Callable[[int], tuple[str, str]]) -> int:
        """A free exchange after that one, and by that share of the life as far as there is room."""
        last = int(self._plan.turns // 2 * by) - 1
        at = self._chance.randint(min(after + 1, last), last)
        while at in self._exchanges or at <= after:
            at += 1
        self._exchanges[at] = talk
        return at

    def _state(self, thread: _Thread) -> int:
        return self._tell(thread, "states", -1, _STATED)

    def _update(self, thread: _Thread, after: int) -> int:
        return self._tell(thread, "updates", after, _UPDATED)

    def _tell(self, thread: _Thread, kind: str, after: int, by: float) -> int:
        value = thread.values[len(thread.fact.tellings)]
        at = self._place(after, by, lambda _: (self._tale(thread.told[kind], value), self._answer(value)))
        thread.fact = replace(thread.fact, tellings=(*thread.fact.tellings, Telling(at * 2, value)))
        return at

    def _forget(self, thread: _Thread, after: int) -> None:
        value = thread.fact.tellings[-1].value
        meant = f" I mean {value}." if self._chance.random() < _MEANT else ""
        asked = self._chance.choice(thread.told["forgets"]) + meant
        at = self._place(after, _FORGOTTEN, lambda _: (asked, self._chatter.say("forgot")))
        thread.fact = replace(thread.fact, forgotten=at * 2)

    def _ask(self, questions: list[Question]) -> None:
        text = self._chatter.say("open_question")
        at = self._place(-1, _STATED, lambda _: (text, self._chatter.say("doubt")))
        questions.append(Question(at * 2, text))

    def _tale(self, wordings: Sequence[str], value: str) -> str:
        """A fact as it is told: alone, after an opening, or in one breath with chatter."""
        chance = self._chance
        hindi = [wording for wording in wordings if not wording.replace("{v}", "").strip(" .").isascii()]
        english = [wording for wording in wordings if wording not in hindi]
        wording = chance.choice(hindi if hindi and chance.random() < _HINDI else english)
        if wording in english and chance.random() < _OPENED:
            wording = f"{self._chatter.say('before')} {_lowered(wording)}"
        told = wording.replace("{v}", value)
        if chance.random() < _ASIDE:
            aside = self._chatter.say("user")
            return f"{told} {aside}" if chance.random() < 0.5 else f"{aside} {told}"
        return told

    def _answer(self, value: str) -> str:
        if self._chance.random() < _ECHO:
            return self._chatter.wording("echo").replace("{v}", value)
        return self._chatter.say("acknowledge")


def _lowered(wording: str) -> str:
    """As it goes on after an opening."""
    first = wording.split()[0]
    return wording if first in ("I", "{v}", "Mum's") or first.startswith("I'") else wording[0].lower() + wording[1:]
