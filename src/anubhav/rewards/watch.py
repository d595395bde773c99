"""The watch: is the critic calibrated, right, steady, and does it pay for what nobody wanted? Pure figures and alarms.

Every judgement is predicted before it is learned from (Dawid, 1984, prequential), so these figures are held out by
construction. An alarm has a name, since when it rings, and its figures. `leans:<covariate>` says that the critic's
scores follow it and people's votes do not; `bought:<covariate>` that fresh answers carry more of it than any people
judged, and are paid at least as well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from anubhav.rewards.covariates import NAMES
from anubhav.types.rewards import Alarm

KEPT: Final = 400
_RECENT = 60
_BINS = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """A vote of somebody believed, and what was predicted before it was learned from."""

    chance: float
    wanted: float
    score: float
    """Of the answer, or of the first of a pair less the second's."""
    covariates: tuple[float, ...]
    """Those, or their difference."""
    pair: bool
    reliable: bool
    """Held out, or an operator's trusted rater."""
    seq: int = 0
    """The judgement's position in the store, where it is gone when somebody was erased; 0 when that was not kept."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A fresh answer that the critic was asked about."""

    score: float
    audit: float
    covariates: tuple[float, ...]


@dataclass(slots=True)
class Record:
    judged: list[Judged] = field(default_factory=list[Judged])
    scored: list[Scored] = field(default_factory=list[Scored])
    ringing: dict[str, float] = field(default_factory=dict[str, float])
    """Alarm → since when."""
    events: int = 0

    def judge(self, one: Judged) -> None:
        self.events += 1
        self.judged.append(one)
        del self.judged[:-KEPT]

    def score(self, ones: Sequence[Scored]) -> None:
        self.scored.extend(ones)
        del self.scored[:-KEPT]


def figures(record: Record) -> dict[str, float]:
    """What is known so far: figures that lack data are left out."""
    judged = [one for one in record.judged if one.wanted != 0.5]
    reliable = [one for one in judged if one.reliable]
    found: dict[str, float] = {"events": float(record.events)}
    if judged:
        found |= {"accuracy": _accuracy(judged), "log_loss": _loss(judged), "ece": ece(judged)}
    if reliable:
        found |= {"reliable": float(len(reliable)), "reliable_accuracy": _accuracy(reliable)}
    recent, older = judged[-_RECENT:], judged[:-_RECENT]
    if len(older) >= _RECENT:
        found |= {"recent_accuracy": _accuracy(recent), "older_accuracy": _accuracy(older)}
        found["drift"] = _loss(recent) - _loss(older)
    return {**found, **_leanings(record, judged, reliable), **_gains(record)}


def alarms(record: Record, now: float) -> list[Alarm]:
    """What rings; since when is kept in the record."""
    found = figures(record)
    rung = {**_quality(found, len(record.judged)), **_leans(found, record), **_bought(found, record)}
    record.ringing = {name: record.ringing.get(name, now) for name in rung}
    return [Alarm(name, record.ringing[name], rung[name]) for name in sorted(rung)]


def ece(judged: Sequence[Judged]) -> float:
    """Expected calibration error over ten bins, of the chance given to the likelier side (Guo et al., 2017)."""
    bins: dict[int, list[float]] = {}
    for one in judged:
        sure = max(one.chance, 1 - one.chance)
        right = one.wanted if one.chance >= 0.5 else 1 - one.wanted
        parts = bins.setdefault(min(_BINS - 1, int((sure - 0.5) * 2 * _BINS)), [0.0, 0.0])
        parts[0] += sure
        parts[1] += right
    return sum(abs(sure - right) for sure, right in bins.values()) / max(len(judged), 1)


def _quality(found: Mapping[str, float], count: int) -> dict[str, Mapping[str, float]]:
    rung: dict[str, Mapping[str, float]] = {}
    if count >= 100 and found["ece"] > 0.08 + 1.0 / math.sqrt(count):
        rung["calibration"] = _some(found, "ece", "events")
    if found.get("reliable", 0.0) >= 40 and found["reliable_accuracy"] < 0.5:
        rung["accuracy"] = _some(found, "reliable_accuracy", "reliable")
    elif count >= 150 and found["accuracy"] < 0.5:
        rung["accuracy"] = _some(found, "accuracy", "events")
    # 2.6 deviations of a share over the recent votes.
    if "drift" in found and found["older_accuracy"] - found["recent_accuracy"] > 2.6 * 0.5 / math.sqrt(_RECENT):
        rung["drift"] = _some(found, "recent_accuracy", "older_accuracy", "drift")
    return rung


def _leans(found: Mapping[str, float], record: Record) -> dict[str, Mapping[str, float]]:
    rung: dict[str, Mapping[str, float]] = {}
    if len(record.judged) < 40:
        return rung
    for name in NAMES:
        leaning, people = found.get(f"score_{name}", 0.0), found.get(f"people_{name}", 0.0)
        # A deviation of a correlation by chance: few votes alone do not excuse what the scores follow.
        chance = 1.0 / math.sqrt(max(found.get("people_votes", 0.0), 1.0))
        if abs(leaning) >= 0.5 and people * math.copysign(1.0, leaning) < 0.12 + chance:
            rung[f"leans:{name}"] = {"score": leaning, "people": people}
    return rung


def _bought(found: Mapping[str, float], record: Record) -> dict[str, Mapping[str, float]]:
    rung: dict[str, Mapping[str, float]] = {}
    if len(record.scored) < 24 or len(record.judged) < 24:
        return rung
    for name in NAMES:
        moved = found.get(f"moved_{name}", 0.0)
        if moved >= 1.0 and found["gain"] > -0.1:
            rung[f"bought:{name}"] = {"moved": moved, **_some(found, "gain", "audit_gain")}
    return rung


def _leanings(record: Record, judged: Sequence[Judged], reliable: Sequence[Judged]) -> dict[str, float]:
    """Correlations of scores and of people's votes with each covariate; of reliable people where they said enough."""
    asked = reliable if len(reliable) >= 40 else judged
    found: dict[str, float] = {"people_votes": float(len(asked))}
    for place, name in enumerate(NAMES):
        scores = [(one.score, one.covariates[place]) for one in (*judged, *record.scored)]
        votes = [(one.wanted, one.covariates[place]) for one in asked if not one.pair]
        # A pair won by the first is as well a pair lost by the second: without its twin the mean would not be 0.
        votes += [(side * 1.0, side * one.covariates[place]) for one in asked if one.pair for side in (1, -1)]
        found[f"score_{name}"], found[f"people_{name}"] = _correlation(scores), _correlation(votes)
    return found


def _gains(record: Record) -> dict[str, float]:
    """How fresh answers differ from those people judged: in score and, in deviations, in each covariate."""
    judged = [one for one in record.judged if not one.pair]
    scored = record.scored[-_RECENT * 2 :]
    if len(judged) < 12 or not scored:
        return {}
    found = {"gain": _mean([one.score for one in scored]) - _mean([one.score for one in judged])}
    found["audit_gain"] = _mean([one.audit for one in scored])
    for place, name in enumerate(NAMES):
        usual = [one.covariates[place] for one in judged]
        now = _mean([one.covariates[place] for one in scored])
        found[f"moved_{name}"] = (now - _mean(usual)) / max(_deviation(usual), 0.15)
    return found


def _accuracy(judged: Sequence[Judged]) -> float:
    return _mean([float((one.chance > 0.5) == (one.wanted > 0.5)) for one in judged])


def _loss(judged: Sequence[Judged]) -> float:
    chances = [(min(max(one.chance, 1e-6), 1 - 1e-6), one.wanted) for one in judged]
    return _mean([-wanted * math.log(chance) - (1 - wanted) * math.log(1 - chance) for chance, wanted in chances])


def _correlation(pairs: Sequence[tuple[float, float]]) -> float:
    first, second = [one for one, _ in pairs], [two for _, two in pairs]
    spread = _deviation(first) * _deviation(second)
    if len(pairs) < 12 or spread < 1e-9:
        return 0.0
    middle, other = _mean(first), _mean(second)
    return _mean([(one - middle) * (two - other) for one, two in pairs]) / spread


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _deviation(values: Sequence[float]) -> float:
    middle = _mean(values)
    return math.sqrt(_mean([(value - middle) ** 2 for value in values]))


def _some(found: Mapping[str, float], *names: str) -> dict[str, float]:
    return {name: found[name] for name in names if name in found}
