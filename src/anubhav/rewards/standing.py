"""How raters stand: whom to believe how much, and how much one of them may move. Pure bookkeeping, no I/O.

Trust is a Beta belief about how often a rater agrees with the others' votes on the same item, whose log-odds are the
weight of a vote (Dawid and Skene, 1979), times the chance that what they say is like predictions made without them and
not like a coin or the contrary.
Caps: once five people vote, none moves more than a tenth of what is learned (one and a half even shares while fewer
than fifteen vote); newcomers without a record share one cap together, and so do those who came together and vote alike,
however many names they take. Whom an operator trusts is beyond caps, whom an operator quarantines counts nothing.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from anubhav.types.rewards import Mark, Rater

CROWD = 5
"""People from which caps and held-out raters begin."""
SHARE = 0.1
_EVEN = 1.5
"""Even shares, while few vote: with the even share itself, whoever is ahead would have to wait for all others."""
_FOUNDERS = 20
"""The first people have no record to be measured by, and are believed until they disagree."""
_HELD_OF = 8
"""One of so many people, by hash, only judges."""
_TOGETHER = 3600.0
_FULL = math.log(3.0)
"""The log-odds of agreement, three times in four, from which a vote counts in full."""
_ALIKE, _OVERLAP, _MANY = 0.95, 0.7, 6
_REMEMBERED = 0.5 ** (1 / 200)
"""What is left of a record after each new vote: people change."""
_HONEST, _COIN, _CONTRARY = 0.9, 0.07, 0.03
"""How many raters are what, before anything is known."""
_BELIEVED = 0.7
_EVIDENCE = 4.0
"""So much must be known before somebody is quarantined without an operator."""


@dataclass(slots=True)
class Standing:
    name: str
    first_at: float
    founder: bool
    held: bool
    number: int = 0
    """Counted in the order they were met."""
    votes: int = 0
    agreed: float = 0.0
    disagreed: float = 0.0
    mass: float = 0.0
    """What of the critic is theirs, faded as the critic fades."""
    quarantined: bool = False
    mark: Mark | None = None
    group: str = ""
    like: float = 0.0
    contrary: float = 0.0
    """Log-odds, against a coin's, of what they said being like predictions made without them, and like the contrary."""
    lenience: float = 0.0
    lenience_variance: float = 0.5
    alike: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Others who came at the same time: [items in common, of these with the same vote]."""

    @property
    def person(self) -> bool:
        return not self.name.startswith(("judge:", "implied:"))

    @property
    def belief(self) -> float:
        """Of agreeing, from what is known and a prior."""
        yes, no = (3.0, 1.0) if self.founder else (3.0, 2.0)
        return (yes + self.agreed) / (yes + no + self.agreed + self.disagreed)

    @property
    def honest(self) -> float:
        """The chance of it by predictions, at first 1: what else there is are voters by chance and to the contrary."""
        like, coin, contrary = _HONEST * math.exp(self.like), _COIN, _CONTRARY * math.exp(self.contrary)
        return min(1.0, like / (like + coin + contrary) / _HONEST)

    @property
    def proven(self) -> bool:
        known = (self.agreed + self.disagreed >= 2.0 and self.belief >= 0.6) or self.like >= 2.0
        return self.founder or self.mark == "trusted" or (known and self.honest > 0.5)


class Ledger:
    def __init__(self) -> None:
        self.raters: dict[str, Standing] = {}
        self.ballots: dict[str, dict[str, float]] = {}
        """Item → rater → vote, -1 to 1."""
        self.credits: dict[str, dict[str, float]] = {}
        """Item → rater → the agreement counted for it."""
        self.marks: dict[str, Mark] = {}
        """What the operator says, of raters not met yet too."""
        self._people = 0
        self.touched: set[str] = set()
        """Raters to be written."""

    def meet(self, name: str, at: float) -> Standing:
        if name not in self.raters:
            known = self._people
            digest = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
            person = not name.startswith(("judge:", "implied:"))
            held = person and known >= CROWD and digest % _HELD_OF == 0
            number = max((one.number for one in self.raters.values()), default=0) + 1
            self.raters[name] = Standing(
                name, at, person and known < _FOUNDERS, held, number, mark=self.marks.get(name), group=name
            )
            self._people += person
        self.touched.add(name)
        return self.raters[name]

    def people(self) -> int:
        return self._people

    def trust(self, name: str) -> float:
        """0 to 1, before caps."""
        one = self.raters.get(name)
        if one is None:
            return 1.0 if self.people() < 3 else _weight(0.6)
        if one.mark == "quarantined":
            return 0.0
        if one.mark == "trusted" or (one.person and self.people() < 3):
            return 1.0
        return 0.0 if one.quarantined else _weight(one.belief) * one.honest

    def hear(self, name: str, item: str, said: float) -> bool:
        """Note a vote; true when the rater said nothing of this item before."""
        votes = self.ballots.setdefault(item, {})
        new = name not in votes
        votes.pop(name, None)
        votes[name] = said
        self._compare(self.credits.get(item, {}), -1.0)
        self.credits[item] = _agreements(votes, self)
        self._compare(self.credits[item], 1.0)
        if new:
            self.raters[name].agreed *= _REMEMBERED
            self.raters[name].disagreed *= _REMEMBERED
            self._liken(name, votes)
        return new

    def predicted(self, name: str, chance: float, wanted: float) -> None:
        """A prediction made without this rater, and what they said: is it more like it, like a coin, or its contrary?

        Predictions are not quite believed, as an honest person has a taste of their own.
        """
        one, strength = self.raters[name], abs(2 * wanted - 1)
        met = 0.5 + _BELIEVED * ((chance if wanted > 0.5 else 1 - chance) - 0.5)
        one.like = _bounded(one.like * _REMEMBERED + strength * math.log(2 * met))
        one.contrary = _bounded(one.contrary * _REMEMBERED + strength * math.log(2 - 2 * met))
        self.touched.add(name)

    def review(self, name: str) -> bool:
        """Quarantine by the record, or lift it; true when the rater was quarantined just now."""
        one = self.raters[name]
        known = one.agreed + one.disagreed
        before = one.quarantined
        if one.mark == "trusted" or self.people() < 3:
            one.quarantined = False
        elif (known >= _EVIDENCE and one.belief < 0.42) or one.honest < 0.05:
            one.quarantined = True
        elif one.belief > 0.5 and one.honest > 0.5:
            one.quarantined = False
        return one.quarantined and not before

    def room(self, name: str) -> float:
        """How much more the rater's group may weigh in the critic now."""
        one = self.raters[name]
        if one.mark == "trusted" or self.people() < CROWD:
            return math.inf
        masses = self._masses()
        group = self.group_of(one)
        own, share = masses.get(group, 0.0), self._share(len({*masses, group}))
        return max(0.0, share / (1 - share) * (sum(masses.values()) - own) - own)

    def capped(self, masses: Mapping[str, float]) -> dict[str, float]:
        """By rater: what of their weight in one update stays, so that no group has more than its share."""
        kept = dict.fromkeys(masses, 1.0)
        if self.people() < CROWD:
            return kept
        groups: dict[str, float] = {}
        free = 0.0
        for name, mass in masses.items():
            if self._exempt(name):
                free += mass
            else:
                group = self._group(name)
                groups[group] = groups.get(group, 0.0) + mass
        level = _level(sorted(groups.values(), reverse=True), self._share(len(groups)), free)
        for name in masses:
            if not self._exempt(name) and (whole := groups[self._group(name)]) > level:
                kept[name] = level / whole
        return kept

    def group_of(self, one: Standing) -> str:
        """Newcomers without a record share one cap, whatever they call themselves."""
        if not one.person or one.proven:
            return one.group
        return "newcomers" if self.people() > _FOUNDERS else one.group

    def mark(self, name: str, mark: Mark | None) -> None:
        if mark:
            self.marks[name] = mark
        else:
            self.marks.pop(name, None)
        if one := self.raters.get(name):
            one.mark = mark
            self.touched.add(name)

    def restore(self, raters: list[Standing]) -> None:
        self.raters = {one.name: one for one in raters}
        self._people = sum(one.person for one in raters)

    def fade(self, share: float) -> None:
        for one in self.raters.values():
            one.mass *= share
            self.touched.add(one.name)

    def forget(self, name: str) -> None:
        if gone := self.raters.pop(name, None):
            self._people -= gone.person
            self.touched.add(name)
        for votes in (*self.ballots.values(), *self.credits.values()):
            votes.pop(name, None)
        for one in self.raters.values():
            one.alike.pop(name, None)

    def list(self) -> list[Rater]:
        """Who voted most first."""
        masses = self._masses()
        whole = sum(masses.values()) or 1.0
        found = [
            Rater(
                one.name, self.trust(one.name), one.votes, one.agreed, one.disagreed, one.first_at, one.held,
                one.quarantined or one.mark == "quarantined", one.mark, masses.get(self.group_of(one), 0.0) / whole,
                self._cap(one, masses),
            )
            for one in self.raters.values()
        ]  # fmt: skip
        return sorted(found, key=lambda one: (-one.votes, one.name))

    def _cap(self, one: Standing, masses: Mapping[str, float]) -> float | None:
        free = one.mark == "trusted" or self.people() < CROWD
        return None if free else self._share(len({*masses, self.group_of(one)}))

    def _exempt(self, name: str) -> bool:
        one = self.raters.get(name)
        return one is not None and one.mark == "trusted"

    def _group(self, name: str) -> str:
        one = self.raters.get(name)
        return self.group_of(one) if one else "newcomers"

    def _share(self, groups: int) -> float:
        return max(SHARE, _EVEN / max(groups, 2))

    def _masses(self) -> dict[str, float]:
        masses: dict[str, float] = {}
        for one in self.raters.values():
            if one.mass > 0:
                group = self.group_of(one)
                masses[group] = masses.get(group, 0.0) + one.mass
        return masses

    def _compare(self, agreements: Mapping[str, float], sign: float) -> None:
        for name, agreement in agreements.items():
            self._credit(name, sign * abs(agreement), agrees=agreement > 0)

    def _credit(self, name: str, amount: float, *, agrees: bool) -> None:
        one = self.raters[name]
        if agrees:
            one.agreed = max(0.0, one.agreed + amount)
        else:
            one.disagreed = max(0.0, one.disagreed + amount)
        self.touched.add(name)

    def _liken(self, name: str, votes: Mapping[str, float]) -> None:
        """Find whom a rater came together and votes alike with; founders are whom others are measured by."""
        one = self.raters[name]
        if one.founder or not one.person:
            return
        for other in list(votes)[-64:]:
            two = self.raters[other]
            if other == name or two.founder or not two.person or abs(one.first_at - two.first_at) > _TOGETHER:
                continue
            pair = two.alike.pop(name, None) or one.alike.setdefault(other, [0, 0])
            one.alike[other] = pair
            pair[0] += 1
            pair[1] += votes[other] * votes[name] > 0
            few = min(one.votes, two.votes)
            if pair[0] >= _MANY and pair[1] >= _ALIKE * pair[0] and pair[0] >= _OVERLAP * few:
                self._join(one.group, two.group)

    def _join(self, first: str, second: str) -> None:
        kept, gone = sorted((first, second))
        for one in self.raters.values():
            if one.group == gone:
                one.group = kept
                self.touched.add(one.name)


def _bounded(evidence: float) -> float:
    """So that nobody has so long a record that they can never lose, or mend it."""
    return max(-8.0, min(8.0, evidence))


def _weight(belief: float) -> float:
    return min(1.0, max(0.0, math.log(belief / (1 - belief)) / _FULL))


def _agreements(votes: Mapping[str, float], ledger: Ledger) -> dict[str, float]:
    """By rater: how far the others' trusted mean is on their side, surer the more of them there are.

    Only those with a record are heard, or newcomers would make each other's.
    """
    weights = {name: ledger.trust(name) for name in votes if ledger.raters[name].person and ledger.raters[name].proven}
    total, count = sum(weights.values()), len(weights)
    mean = sum(weight * votes[name] for name, weight in weights.items())
    found: dict[str, float] = {}
    for name, said in votes.items():
        own = weights.get(name, 0.0)
        others = count - (name in weights)
        if others and total - own > 1e-6 and said:
            found[name] = (mean - own * said) / (total - own) * said * others / (others + 1)
    return found


def _level(masses: list[float], share: float, free: float) -> float:
    """The greatest mass a group may keep so that none has more than `share` of what is left of all."""
    rest = sum(masses) + free
    for cut, mass in enumerate(masses):
        level = share * rest / (1 - share * cut) if share * cut < 1 - 1e-9 else 0.0
        if mass <= level:
            return level
        rest -= mass
    return min(masses, default=0.0)
