"""The table: a fixed pseudo-random base plus, per adapter, what was learned for each of four contexts (the last token,
the last two, the last four, everything so far).

Short contexts generalise, the long one memorises, so imitating an answer changes that answer first and others a
little. A parameter is a (context, token) and comes into being when the token is first wanted in that context, so a
table over a real tokenizer's vocabulary stays small. Log-probabilities and gradients are exact.
"""

import array
import hashlib
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

Rows = dict[int, dict[int, float]]
"""Context → token → logit; what is not there counts as zero."""
_EMPTY: Mapping[int, float] = {}
_SALTS = [bytes([kind]) for kind in range(4)]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The distribution of what follows some tokens."""

    contexts: tuple[int, ...]
    base: tuple[float, ...]
    learned: Mapping[int, float]
    log_total: float

    def logprob(self, token: int) -> float:
        return self.base[token] + self.learned.get(token, 0.0) - self.log_total

    def logprobs(self) -> Sequence[float]:
        """Of the whole vocabulary."""
        if not self.learned:
            return _untaught(self.base, self.log_total)
        found = [value - self.log_total for value in self.base]
        for token, value in self.learned.items():
            found[token] += value
        return found


@dataclass(frozen=True, slots=True)
class Pull:
    """d loss / d log-probability of each target at one position."""

    outlook: Outlook
    slopes: Sequence[tuple[int, float]]
    """(target, slope)"""


@dataclass(frozen=True, slots=True)
class Sweep:
    """d loss / d logit of every token at one position."""

    outlook: Outlook
    slopes: Sequence[float]


def look_ahead(tokens: Sequence[int], rows: Rows, scale: float, vocab: int) -> Outlook:
    base, weights, total = _base(tokens[-1] % vocab, vocab)
    contexts = _contexts(tokens)
    learned: dict[int, float] = {}
    for context in contexts:
        for token, value in rows.get(context, _EMPTY).items():
            learned[token] = learned.get(token, 0.0) + scale * value
    if not learned:
        return Outlook(contexts, base, learned, math.log(total))
    logits = [base[token] + value for token, value in learned.items()]
    most = max(0.0, *logits)
    shrunk = math.exp(-most)
    changes = [math.exp(logit - most) - shrunk * weights[token] for token, logit in zip(learned, logits, strict=True)]
    return Outlook(contexts, base, learned, most + math.log(total * shrunk + math.fsum(changes)))


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
        slopes = dict.fromkeys(sorted(rows.get(context, _EMPTY).keys() | _wanted(group)), 0.0)
        for pull in group:
            _add(pull, slopes)
        found[context] = {token: scale * slope for token, slope in slopes.items()}
    return found


def _wanted(pulls: Iterable[Pull | Sweep]) -> set[int]:
    tokens: set[int] = set()
    for pull in pulls:
        tokens.update(range(len(pull.slopes)) if isinstance(pull, Sweep) else (target for target, _ in pull.slopes))
    return tokens


def _add(pull: Pull | Sweep, slopes: dict[int, float]) -> None:
    """What it asks of each of these tokens; this is where a lap over the table spends its time."""
    if isinstance(pull, Sweep):
        for token in slopes:
            slopes[token] += pull.slopes[token]
        return
    base, learned, log_total = pull.outlook.base, pull.outlook.learned.get, pull.outlook.log_total
    whole = sum(slope for _, slope in pull.slopes)
    for token in slopes:
        slopes[token] -= whole * math.exp(base[token] + learned(token, 0.0) - log_total)
    for target, slope in pull.slopes:
        slopes[target] += slope


def _contexts(tokens: Sequence[int]) -> tuple[int, ...]:
    # A sample that grows on a long prompt comes as an array already.
    packed = (tokens if isinstance(tokens, array.array) else array.array("q", tokens)).tobytes()
    # By kind and by what it spans: the last token, two, four, all (8 bytes each).
    spans = (packed[-8:], packed[-16:], packed[-32:], packed)
    return tuple(_digest(kind, span) for kind, span in enumerate(spans))


def _digest(kind: int, span: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(span, digest_size=8, salt=_SALTS[kind]).digest(), "little", signed=True)


@lru_cache(maxsize=512)
def _untaught(base: tuple[float, ...], log_total: float) -> tuple[float, ...]:
    return tuple(value - log_total for value in base)


@lru_cache(maxsize=512)
def _base(last: int, vocab: int) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Base logits after `last`, their exponentials, and the sum of these."""
    wave, weights = _wave(vocab)
    turn = last * 7919 % vocab
    return wave[turn:] + wave[:turn], weights[turn:] + weights[:turn], math.fsum(weights)


@lru_cache(maxsize=4)
def _wave(vocab: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    rng = random.Random(vocab)
    wave = tuple(rng.uniform(-1, 1) for _ in range(vocab))
    return wave, tuple(map(math.exp, wave))
