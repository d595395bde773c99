"""The table: a fixed pseudo-random base plus, per adapter, what was learned for each of four contexts (the last token,
the last two, the last four, everything so far).

Short contexts generalise, the long one memorises, so imitating an answer changes that answer first and others a
little. A parameter is a (context, token) and comes into being when the token is first wanted in that context, so a
table over a real tokenizer's vocabulary stays small. Log-probabilities and gradients are exact.
"""

import hashlib
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

Rows = dict[int, dict[int, float]]
"""Context → token → logit; what is not there counts as zero."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The distribution of what follows some tokens."""

    contexts: tuple[int, ...]
    base: Sequence[float]
    learned: Mapping[int, float]
    log_total: float

    def logprob(self, token: int) -> float:
        return self.base[token] + self.learned.get(token, 0.0) - self.log_total

    def logprobs(self) -> list[float]:
        """Of the whole vocabulary."""
        found = [value - self.log_total for value in self.base]
        for token, value in self.learned.items():
            found[token] += value
        return found


@dataclass(frozen=True, slots=True)
class Pull:
    """d loss / d log-probability of `target` at one position."""

    outlook: Outlook
    target: int
    slope: float


@dataclass(frozen=True, slots=True)
class Sweep:
    """d loss / d logit of every token at one position."""

    outlook: Outlook
    slopes: Sequence[float]


def look_ahead(tokens: Sequence[int], rows: Rows, scale: float, vocab: int) -> Outlook:
    base, total = _base(tokens[-1] % vocab, vocab)
    contexts = _contexts(tokens)
    learned: dict[int, float] = {}
    for context in contexts:
        for token, value in rows.get(context, {}).items():
            learned[token] = learned.get(token, 0.0) + scale * value
    most = max((base[token] + value for token, value in learned.items()), default=0.0)
    most = max(most, 0.0)
    changes = (math.exp(base[token] + value - most) - math.exp(base[token] - most) for token, value in learned.items())
    return Outlook(contexts, base, learned, most + math.log(total * math.exp(-most) + math.fsum(changes)))


def log_softmax(logits: Sequence[float]) -> list[float]:
    most = max(logits)
    total = most + math.log(math.fsum(math.exp(logit - most) for logit in logits))
    return [logit - total for logit in logits]


def gradient(pulls: Iterable[Pull | Sweep], rows: Rows, scale: float) -> Rows:
    """D loss / d parameter, of those that are there and of those these pulls bring into being."""
    by_context: dict[int, list[Pull | Sweep]] = {}
    for pull in pulls:
        for context in pull.outlook.contexts:
            by_context.setdefault(context, []).append(pull)
    found: Rows = {}
    for context, group in by_context.items():
        tokens = rows.get(context, {}).keys() | {token for pull in group for token in _wanted(pull)}
        found[context] = {token: scale * sum(_slope(pull, token) for pull in group) for token in sorted(tokens)}
    return found


def _wanted(pull: Pull | Sweep) -> Iterable[int]:
    return range(len(pull.slopes)) if isinstance(pull, Sweep) else (pull.target,)


def _slope(pull: Pull | Sweep, token: int) -> float:
    if isinstance(pull, Sweep):
        return pull.slopes[token]
    return pull.slope * ((token == pull.target) - math.exp(pull.outlook.logprob(token)))


def _contexts(tokens: Sequence[int]) -> tuple[int, ...]:
    spans = (tokens[-1:], tokens[-2:], tokens[-4:], tokens)
    return tuple(_digest(kind, span) for kind, span in enumerate(spans))


def _digest(kind: int, tokens: Sequence[int]) -> int:
    name = f"{kind}:{','.join(map(str, tokens))}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


@lru_cache(maxsize=64)
def _base(last: int, vocab: int) -> tuple[Sequence[float], float]:
    """Base logits after `last`, and the sum of their exponentials."""
    wave, total = _wave(vocab)
    turn = last * 7919 % vocab
    return wave[turn:] + wave[:turn], total


@lru_cache(maxsize=4)
def _wave(vocab: int) -> tuple[tuple[float, ...], float]:
    rng = random.Random(vocab)
    wave = tuple(rng.uniform(-1, 1) for _ in range(vocab))
    return wave, math.fsum(map(math.exp, wave))
