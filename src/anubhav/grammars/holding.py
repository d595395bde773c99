"""Which tokens may follow, so that a sample is one of the texts that were asked for (llguidance).

Flows refuse a grammar before a reply begins, and samplers, which know neither each other nor `rendering`, hold samples
to it. llguidance is loaded when the first grammar is asked for.
"""

import json
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anubhav.errors import BadInput, TooLarge
from anubhav.types.sampling import Grammar

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_NAMES: Final = {"json_schema": "JSON schema", "regex": "regular expression", "lark": "grammar"}
_LONGEST: Final = {"json_schema": 200_000, "regex": 20_000, "lark": 100_000}
"""Characters."""
_PATIENCE: Final = 0.1
"""Processor seconds for the first mask: one that takes longer would keep everybody waiting at every token."""
_BLANKS: Final = r"[ \t\r\n]{1,20}"
"""Between the words of JSON. Without a bound, small models write blanks until their tokens are used up."""
_opening = threading.Lock()


class Held:
    """One sample's place in a grammar. It follows the sample's tokens by itself, so it cannot be behind or ahead."""

    def __init__(self, matcher: "LLMatcher", tokenizer: "LLTokenizer", stops: tuple[int, ...]) -> None:
        self._matcher, self._tokenizer, self._stops = matcher, tokenizer, stops
        self._seen = 0

    def copy(self) -> "Held":
        """For another sample, from the same place on."""
        other = Held(self._matcher.deep_copy(), self._tokenizer, self._stops)
        other._seen = self._seen
        return other

    def mask(self, tokens: Sequence[int], size: int) -> bytearray:
        """A byte for each of `size` tokens: 0 is for those that may not follow `tokens`.

        A stop token may follow where the text is whole. Raises BadInput where nothing can, and when finding out takes
        too much work.
        """
        self._follow(tokens)
        allowed = bytearray(self._matcher.compute_logit_bias())[:size].ljust(size, b"\0")
        whole = self._matcher.is_accepting()
        problem = self._matcher.get_error()
        if problem and not problem.startswith("NoExtension"):
            raise BadInput(f"The grammar became too much work: {_brief(problem)}", hint=_SIMPLER)
        for ends in (self._tokenizer.eos_tokens, self._stops if whole else ()):
            for token in ends:
                allowed[token] = ends is self._stops
        if allowed.count(0) == size:
            raise BadInput("No token of this model can go on with what the grammar asks", hint="Widen the grammar.")
        return allowed

    def over(self, tokens: Sequence[int]) -> bool:
        """Whether the text is whole, nothing can follow, and no stop token will say so."""
        self._follow(tokens)
        return not self._stops and self._matcher.is_stopped() and not self._matcher.is_error()

    def _follow(self, tokens: Sequence[int]) -> None:
        self._matcher.consume_tokens(list(tokens[self._seen :]))
        self._seen = len(tokens)


_SIMPLER: Final = "Use a simpler one, with smaller counts in it."


def hold(folder: Path, stops: tuple[int, ...], grammar: Grammar) -> Held:
    """The beginning of a grammar for the model in `folder`, whose samples end with `stops`.

    The first time takes seconds, so not in a thread that others wait for. Raises BadInput, saying what the grammar
    lacks.
    """
    return _compiled(folder, stops, grammar).copy()


@lru_cache(maxsize=64)
def _compiled(folder: Path, stops: tuple[int, ...], grammar: Grammar) -> Held:
    from llguidance import LLMatcher, LLParserLimits

    name = _NAMES[grammar.kind]
    if len(grammar.text) > _LONGEST[grammar.kind]:
        raise TooLarge(f"The {name} has more than {_LONGEST[grammar.kind]:,} characters", hint="Shorten it.")
    tokenizer = _open(folder, stops)
    limits = LLParserLimits(
        max_items_in_row=1000,
        initial_lexer_fuel=200_000,
        step_lexer_fuel=50_000,
        step_max_items=20_000,
        max_lexer_states=20_000,
        max_grammar_size=100_000,
        verbose_errors=False,
    )
    matcher = LLMatcher(tokenizer, _written(grammar), log_level=0, limits=limits)
    if matcher.is_error():
        raise BadInput(f"The {name} cannot be used: {_brief(matcher.get_error())}", hint=f"Correct the {name}.")
    held, started = Held(matcher, tokenizer, stops), time.thread_time()
    held.mask((), tokenizer.vocab_size)
    if time.thread_time() - started > _PATIENCE:
        raise BadInput(f"The {name} is too much work", hint=_SIMPLER)
    return held


def _open(folder: Path, stops: tuple[int, ...]) -> "LLTokenizer":
    with _opening:  # whoever comes meanwhile finds it made
        return _opened(folder, stops)


@lru_cache(maxsize=4)
def _opened(folder: Path, stops: tuple[int, ...]) -> "LLTokenizer":
    from llguidance import LLTokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise BadInput("This model has no tokenizer.json, so its samples can be held to nothing", hint="Ask for text.")
    try:
        return LLTokenizer(file.read_text("utf-8"), eos_token=list(stops) or None)
    except ValueError as problem:
        raise BadInput(
            f"This model's tokenizer knows no grammars: {_brief(str(problem))}", hint="Ask for text."
        ) from problem


def _written(grammar: Grammar) -> str:
    """As llguidance takes it. Raises BadInput for what is no JSON."""
    from llguidance import LLMatcher

    if grammar.kind == "regex":
        return LLMatcher.grammar_from_regex(grammar.text)
    if grammar.kind == "lark":
        return LLMatcher.grammar_from_lark(grammar.text)
    try:
        whole = isinstance(json.loads(grammar.text), dict)
        if whole:
            # Not lenient, whatever the schema says: a keyword that is not understood is refused, never left out.
            return LLMatcher.grammar_from_json_schema(
                grammar.text, overrides={"whitespace_pattern": _BLANKS, "lenient": False}
            )
    except (ValueError, RecursionError) as problem:
        raise BadInput("The JSON schema is no JSON, or nested too deeply", hint="Send a JSON schema.") from problem
    raise BadInput("The JSON schema is no object", hint="Send a JSON schema.")


def _brief(said: str) -> str:
    """Without the copy of the grammar that follows."""
    return " ".join(said.split("\n   1 |")[0].replace("<non-verbose/>", "").split())[:300]
