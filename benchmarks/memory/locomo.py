"""LoCoMo: of what questions turn out to need, how much is still in a memory that did not know them?

Every message of a conversation is heard in order, one at a time; then each question is held against what is left.

    python -m benchmarks.memory.locomo --data FOLDER --budget 1024 2048 4096 8192

Figures are percentages, with 95 % intervals over the questions, drawn conversation by conversation:

- evidence: every message that the answer is in is still there. A message is there if all of its words that carry
  something are (numbers, names, negations and content words, by the product's own list of joining words): verbatim, or
  as the telegram that Memory Diffusion makes of it. Text written anew counts wherever in it the words stand.
- whole: the same, verbatim.
- words: of the evidence's words, the share left, by another list of joining words (the floors').
- coverage: of the answer's words without joining ones, the share found anywhere in the memory.

Retrieval from an outside store sees the question before it chooses (`outside`). Tokens are counted as the published
floors were (--tokens words) or by the served model's tokenizer (--tokens model).
"""

import argparse
import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

from anubhav.memory.words import content
from benchmarks.memory.conversation import Conversation, Question, read_all
from benchmarks.memory.intervals import clustered, percent
from benchmarks.memory.message import Held, Message
from benchmarks.memory.policies.choosers import JOINING
from benchmarks.memory.policies.policy import Policy
from benchmarks.memory.shelf import NAMES, USUAL, Shelf
from benchmarks.memory.voice import Voice
from benchmarks.stand.environments import NotRun
from benchmarks.stand.figures import table
from benchmarks.stand.machine import commit, describe, processors

CLAIM = {4096: (45.0, 65.0), 8192: (65.0, 75.0)}
"""Evidence and coverage that fixed Memory Diffusion has to reach."""
KINDS = ("evidence", "whole", "words", "coverage")


@dataclass
class Marks:
    """Of one policy in one conversation: a value per question and kind."""

    values: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    tokens: int = 0
    """The most it held when asked."""
    seconds: float = 0.0


async def ask(policy: Policy, conversation: Conversation, shelf: Shelf) -> Marks:
    marks = Marks()
    started = perf_counter()
    for message in conversation.messages:
        await policy.hear(message)
    marks.seconds = perf_counter() - started
    held = await policy.recall()
    for question in conversation.questions:
        held = await policy.recall(question.text) if policy.outside else held
        marks.tokens = max(marks.tokens, _tokens(held, shelf))
        for kind, value in judge(held, question, conversation.messages).items():
            marks.values[kind].append(value)
    return marks


def judge(held: Sequence[Held], question: Question, messages: Sequence[Message]) -> dict[str, float]:
    """Nothing of coverage for an answer that is all joining words."""
    by_turn: dict[int, list[str]] = {}
    for line in held:
        if line.turn is not None:
            by_turn.setdefault(line.turn, []).append(line.text)
    anew = content(f"so {' '.join(line.text for line in held if line.turn is None)}")
    left = {turn: " ".join(by_turn.get(turn, ())) for turn in question.evidence}
    found = {
        "evidence": float(all(_there(messages[turn].named, text, anew) for turn, text in left.items())),
        "whole": float(all(messages[turn].named.split() == text.split() for turn, text in left.items())),
        "words": fmean(_share(_words(messages[turn].named), set(_words(text))) for turn, text in left.items()),
    }
    answer = _words(question.answer)
    memory = {word for line in held for word in _normal(line.text).split()}
    return {**found, "coverage": _share(answer, memory)} if answer else found


def _there(said: str, left: str, anew: frozenset[str]) -> bool:
    """A message of joining words only is there if any of it is."""
    # As it goes on after a word, so that a capital counts the same wherever a chunk was cut.
    carrying = content(f"so {said}")
    return carrying <= content(f"so {left}") or carrying <= anew if carrying else bool(left)


def _words(text: str) -> list[str]:
    return [word for word in _normal(text).split() if word not in JOINING]


def _normal(text: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", text.lower())


def _share(wanted: Sequence[str], there: set[str]) -> float:
    return sum(word in there for word in wanted) / len(wanted) if wanted else 1.0


def _tokens(held: Sequence[Held], shelf: Shelf) -> int:
    return sum(shelf.count(line.text) for line in held)


def figures(told: Sequence[Marks], policy: Policy) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in KINDS:
        clusters = [marks.values[kind] for marks in told]
        values = [value for cluster in clusters for value in cluster]
        low, high = clustered(clusters)
        found[kind] = percent(fmean(values))
        found[f"{kind}_interval"] = [percent(low), percent(high)]
    return {
        **found,
        "questions": sum(len(marks.values["evidence"]) for marks in told),
        "conversations": len(told),
        "peak_tokens": max(marks.tokens for marks in told),
        "seconds": round(sum(marks.seconds for marks in told), 2),
        "bounded": policy.bounded,
        "outside": policy.outside,
    }


def claim(budget: int, told: dict[str, dict[str, Any]], tokens: str) -> dict[str, Any]:
    """What fixed Memory Diffusion has to reach, and whether it is above every bounded policy that sees no question."""
    ours = told.get("diffusion-fixed")
    if not ours:
        return {}
    rivals = [
        one
        for name, one in told.items()
        if one["bounded"]
        and not (one["outside"] or name.startswith("diffusion"))
        and one["conversations"] == ours["conversations"]
    ]
    said: dict[str, Any] = {
        "above_all": all(ours[kind] > one[kind] for one in rivals for kind in ("evidence", "coverage"))
    }
    if budget in CLAIM and tokens == "words":
        evidence, coverage = CLAIM[budget]
        said |= {"evidence": evidence, "coverage": coverage}
        said["met"] = ours["evidence"] >= evidence and ours["coverage"] >= coverage
    return said


async def measure(chosen: argparse.Namespace) -> None:
    voice = Voice(chosen.model)
    shelf = Shelf(voice, chosen.tokens, chosen.surprise)
    conversations = read_all(chosen.data, chosen.conversations)
    try:
        for budget in chosen.budget:
            told: dict[str, dict[str, Any]] = {}
            for name in chosen.policies:
                told[name] = await _run(name, budget, conversations, shelf)
                print(json.dumps({"policy": name, "budget": budget, **told[name]}), flush=True)
            done = {name: one for name, one in told.items() if "not_run" not in one}
            print(_shown(done), flush=True)
            summary = {
                "benchmark": "memory.locomo",
                "claim": claim(budget, done, chosen.tokens),
                "budget": budget,
                "tokens": chosen.tokens,
                "surprise": chosen.surprise,
                "policies": told,
                "machine": describe(processors()),
                "commit": commit(),
            }
            print(json.dumps(summary), flush=True)
    finally:
        voice.close()


async def _run(name: str, budget: int, conversations: Sequence[Conversation], shelf: Shelf) -> dict[str, Any]:
    # The model takes a quarter of an hour to summarise one.
    chosen = conversations[:1] if name == "summary" else conversations
    told: list[Marks] = []
    try:
        for conversation in chosen:
            policy = shelf.make(name, budget)
            told.append(await ask(policy, conversation, shelf))
    except NotRun as problem:
        return {"not_run": str(problem)}
    return figures(told, policy)


def _shown(told: dict[str, dict[str, Any]]) -> str:
    heads = ("policy", *KINDS, "most tokens", "sees the question")
    rows = [
        (
            name,
            *(f"{one[kind]:.1f} ({one[f'{kind}_interval'][0]:.1f}–{one[f'{kind}_interval'][1]:.1f})" for kind in KINDS),
            str(one["peak_tokens"]),
            "yes" if one["outside"] else "",
        )
        for name, one in told.items()
    ]
    return table(rows, heads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of LoCoMo's conversations")
    parser.add_argument("--budget", type=int, nargs="+", default=[4096], help="in tokens (default: 4096)")
    parser.add_argument("--policies", nargs="+", choices=NAMES, default=USUAL, help="default: all but summary")
    parser.add_argument("--conversations", type=int, help="only the first so many")
    parser.add_argument("--tokens", choices=("words", "model"), default="words", help="default: %(default)s")
    parser.add_argument("--surprise", action="store_true", help="weigh words by the model's surprise: slow")
    parser.add_argument("--model", default=Voice.usual, help="catalogue name or folder (default: %(default)s)")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
