"""The shelf: every policy by its name, made for a budget; and what is left out, with the reason."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from anubhav.memory.scoring import FIXED
from anubhav.types.memory import MemoryPolicy
from benchmarks.memory.message import Count, count_words
from benchmarks.memory.policies import choosers
from benchmarks.memory.policies.bm25 import Bm25
from benchmarks.memory.policies.choosers import Chooser, Full
from benchmarks.memory.policies.diffusion import Diffusion
from benchmarks.memory.policies.policy import Policy
from benchmarks.memory.policies.summary import Summary
from benchmarks.memory.policies.vectors import Encoder, Vectors
from benchmarks.memory.voice import Voice
from benchmarks.stand.environments import NotRun

LEARNED = Path(__file__).parent / "results" / "learned.json"


@dataclass
class Shelf:
    """What policies are made from. Opened only for those that need it: the model, the encoder, the learned weights."""

    voice: Voice
    tokens: str = "words"
    """"words" or "model"."""
    surprise: bool = False

    @property
    def count(self) -> Count:
        return self.voice.count if self.tokens == "model" else count_words

    def make(self, name: str, budget: int) -> Policy:
        """Raises NotRun for a policy that this machine cannot run."""
        return _MAKERS[name](self, budget)

    def diffusion(self, policy: MemoryPolicy, budget: int) -> Policy:
        return Diffusion(policy, budget, self.count, self.voice.weigh if self.surprise else None)

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder()

    @cached_property
    def learned(self) -> MemoryPolicy:
        if not LEARNED.is_file():
            raise NotRun(f"there is no {LEARNED.name} yet: run benchmarks.memory.learned", side="ours")
        return from_told(json.loads(LEARNED.read_text(encoding="utf-8")))


def from_told(told: Mapping[str, Any]) -> MemoryPolicy:
    return MemoryPolicy(told["name"], told["weights"], told["stretch"], told["window"])


_MAKERS: dict[str, Callable[[Shelf, int], Policy]] = {
    "full-context": lambda shelf, budget: Full(),
    "recency": lambda shelf, budget: Chooser(choosers.latest, budget, shelf.count),
    "random": lambda shelf, budget: Chooser(choosers.shuffled, budget, shelf.count),
    "keep-longest": lambda shelf, budget: Chooser(choosers.longest, budget, shelf.count),
    "idf-salience": lambda shelf, budget: Chooser(choosers.salient, budget, shelf.count),
    "summary": lambda shelf, budget: Summary(budget, shelf.count, shelf.voice),
    "bm25": lambda shelf, budget: Bm25(budget, shelf.count),
    "minilm": lambda shelf, budget: Vectors(budget, shelf.count, shelf.encoder),
    "diffusion-fixed": lambda shelf, budget: shelf.diffusion(FIXED, budget),
    "diffusion-learned": lambda shelf, budget: shelf.diffusion(shelf.learned, budget),
}
NAMES = tuple(_MAKERS)
USUAL = tuple(name for name in NAMES if name != "summary")
"""Without what takes hours."""
