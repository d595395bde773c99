"""Rival (d): a reward model trained once, on the first day's feedback, and GRPO against it every night.

The reward model is logistic in hashed words of the reply, pairs of a question's and a reply's words, and its length;
thumbs, outcomes and corrections are its labels and comparisons its pairs (Bradley–Terry), in one likelihood.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from statistics import fmean, pstdev

from benchmarks.loop.methods.student import Student
from benchmarks.loop.people.task import Item
from benchmarks.loop.records import Record, pairs, values

_BUCKETS = 1 << 16
_EPOCHS, _RATE, _DECAY = 20, 0.1, 1e-4
_PASSES, _STEP_RATE, _SAMPLES = 12, 2e-4, 8
"""The loop's own recipe for thumbs."""
_PROMPTS = 24
_TOKENS = 32
_SAME = 1e-4
"""A group whose scores deviate less is taken to agree."""
Features = Mapping[int, float]


class OfflineReward:
    """Fitted once; what came later does not change it."""

    def __init__(self, records: Sequence[Record], seed: int) -> None:
        self._weights: dict[int, float] = {}
        # Differences of two replies must be positive; single replies carry a label.
        rows: list[tuple[Features, float]] = []
        for record in records:
            for place, value in values(record).items():
                rows.append((read(record.item, record.texts[place]), value))
            for one in record.reactions:
                if one.kind == "correction" and one.text:
                    rows += [(read(record.item, one.text), 1.0), (read(record.item, record.texts[one.place]), 0.0)]
        for pair in pairs(records):
            chosen, rejected = read(pair.item, pair.chosen), read(pair.item, pair.rejected)
            both = {name: chosen.get(name, 0.0) - rejected.get(name, 0.0) for name in chosen.keys() | rejected.keys()}
            rows.append((both, 1.0))
        chance = Random(seed)
        for _ in range(_EPOCHS):
            chance.shuffle(rows)
            for features, label in rows:
                self._learn(features, label)

    def score(self, item: Item, text: str) -> float:
        """In 0..1."""
        return _sigmoid(self._dot(read(item, text)))

    def _learn(self, features: Features, label: float) -> None:
        slope = label - _sigmoid(self._dot(features))
        for name, value in features.items():
            known = self._weights.get(name, 0.0)
            self._weights[name] = known + _RATE * (slope * value - _DECAY * known)

    def _dot(self, features: Features) -> float:
        return sum(self._weights.get(name, 0.0) * value for name, value in features.items())


def read(item: Item, text: str) -> dict[int, float]:
    """Features of a reply, of norm about 1."""
    asked, said = _words(item.messages[-1][1]), _words(text)
    found: Counter[str] = Counter({"bias": 1, "end": 1 if text.rstrip().endswith("?") else 0})
    found.update(f"w:{word}" for word in said)
    found.update(f"p:{one}:{other}" for one in set(asked) for other in set(said))
    scale = 1.0 / math.sqrt(sum(value * value for value in found.values()))
    hashed: dict[int, float] = {}
    for name, value in found.items():
        place = zlib.crc32(name.encode()) % _BUCKETS
        hashed[place] = hashed.get(place, 0.0) + scale * value
    hashed[_BUCKETS] = len(said) / 32
    return hashed


class OfflineGrpo:
    name = "offline-rm-grpo"
    about = "a reward model trained once on the first day, then GRPO"

    def __init__(self, student: Student) -> None:
        self.student = student
        self.reward: OfflineReward | None = None

    def night(self, records: Sequence[Record], budget: int, seed: int) -> None:
        """Fresh groups of replies to the day's questions, then PPO steps over them, within `budget` tokens."""
        if self.reward is None and records:
            self.reward = OfflineReward(records, seed)
        items = list(dict.fromkeys(record.item for record in records))
        chance, end = Random(seed), self.student.spent + budget
        chance.shuffle(items)
        items = self._afford(items[:_PROMPTS], budget)
        if self.reward is None or not items:
            return
        prompts = [self.student.prompt(item) for item in items]
        groups = self.student.sample(prompts, _SAMPLES, _TOKENS, seed)
        rollouts = self._judge(items, prompts, groups)
        for step in range(_PASSES):
            batch = rollouts[step % 4 :: 4]
            size = sum(len(prompt) + len(answer) for prompt, answer, *_ in batch)
            if not batch or self.student.spent + size > end:
                return
            self.student.reinforce(batch, _STEP_RATE)

    def _afford(self, items: list[Item], budget: int) -> list[Item]:
        """As many questions as leave the tokens for three passes over their replies."""
        kept: list[Item] = []
        for item in items:
            budget -= 4 * _SAMPLES * (len(self.student.prompt(item)) + _TOKENS // 2)
            if budget < 0:
                break
            kept.append(item)
        return kept

    def _judge(
        self,
        items: Sequence[Item],
        prompts: Sequence[list[int]],
        groups: Sequence[Sequence[tuple[list[int], list[float]]]],
    ) -> list[tuple[list[int], list[int], list[float], float]]:
        """Advantages against the mean of the group; groups without a difference teach nothing."""
        assert self.reward is not None, "fitted before the first night"
        found: list[tuple[list[int], list[int], list[float], float]] = []
        for item, prompt, group in zip(items, prompts, groups, strict=True):
            scores = [self.reward.score(item, self.student.text(tokens)) for tokens, _ in group]
            mean, deviation = fmean(scores), pstdev(scores)
            if deviation > _SAME:
                found += [
                    (prompt, tokens, logprobs, (score - mean) / deviation)
                    for (tokens, logprobs), score in zip(group, scores, strict=True)
                ]
        return found


def _words(text: str) -> list[str]:
    return re.findall(r"[\w.]+", text.casefold())


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, value))))
