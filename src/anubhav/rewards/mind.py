"""The critic's mind about one alias on one base model: every vote is one step, and nothing here does I/O.

The same votes in the same order give the same numbers, so a restart that replays what was not written yet continues
exactly. Old votes fade with a half-life of five hundred, as tastes drift; a vote that replaces another takes it back.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from anubhav.rewards.posterior import Guess, Heat, Posterior, Site, logistic, site
from anubhav.rewards.seen import Seen
from anubhav.rewards.standing import Ledger, Standing
from anubhav.rewards.votes import WEIGHTS, View, Vote
from anubhav.rewards.watch import Judged, Record, Scored
from anubhav.types.rewards import Estimate

_BLOCK = 32
_FADE = 0.5 ** (_BLOCK / 500)
_LEVEL, _COVARIATE, _FEATURE = 1.0, 0.7, 0.3
"""Prior deviations: of the usual vote, of a covariate's weight, of a feature's weight (docs/loop-rewards.md)."""
_SLIP = 0.03
"""Nobody is right for certain: a yes wishes for 0.97."""
_TOLD = 0.25
"""A vote of less weight is not predicted for the watch."""
_ITEM = 5.0
"""Votes that one answer, or one pair, can have in the belief."""
_KEPT = 256
"""A rater's last votes that can still be taken back; older ones only fade."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A vote that is part of a belief."""

    key: str
    rater: str
    item: str
    seq: int
    block: int
    weight: float
    one: Site
    x: tuple[float, ...]
    held: bool


@dataclass(slots=True)
class Changes:
    """What must be written."""

    kept: set[str] = field(default_factory=set[str])
    gone: set[str] = field(default_factory=set[str])
    items: set[str] = field(default_factory=set[str])


class Mind:
    def __init__(self, prior: Sequence[float]) -> None:
        self.prior = list(prior)
        self.main, self.audit = Posterior(prior), Posterior(prior)
        self.twins = (Posterior(prior), Posterior(prior))
        """Each learns from half of the raters, and tells what the other half says without them."""
        self.heat = Heat()
        self.ledger, self.record, self.seen = Ledger(), Record(), Seen(len(prior))
        self.kept: dict[str, Kept] = {}
        self.of_rater: dict[str, dict[str, None]] = {}
        self.of_item: dict[str, dict[str, None]] = {}
        self.steps = self.block = self.audited = 0
        self.changes = Changes()

    def step(self, vote: Vote, said: float) -> None:
        """Learn from a vote; `said` is what is held against others' on the same item."""
        who = self.ledger.meet(vote.rater, vote.at)
        self._take_back(vote.key)
        own, other = _sides(vote)
        x = own if other is None else tuple(a - b for a, b in zip(own, other, strict=True))
        belief = self.audit if who.held and not vote.teaches else self.main
        guess = _shifted(belief.guess(x), who, pair=other is not None)
        who.votes += 1
        if self.ledger.hear(vote.rater, vote.item, said) and vote.source == "person":
            without = _shifted(self.twins[1 - _half(vote.rater)].guess(x), who, pair=other is not None)
            self.ledger.predicted(vote.rater, self.heat.warmed(without).chance, vote.wanted)
        self.changes.items.add(vote.item)
        if self.ledger.review(vote.rater):
            self.disown(vote.rater)
        trusted = self.ledger.trust(vote.rater) * WEIGHTS[vote.source]
        weight = min(trusted, self.ledger.room(vote.rater), self._room(vote.item, who))
        self._predict(vote, who, x, guess, weight)
        if weight > 1e-6:
            self._learn(vote, who, x, guess, weight, belief, (own, other))

    def estimate(self, views: Sequence[View], *, audit: bool = False) -> list[Estimate]:
        """Of a usual rater; covariates and features beyond what people judged count as their edge."""
        belief = self.audit if audit else self.main
        found: list[Estimate] = []
        for view in views:
            guess = self.heat.warmed(belief.guess(self.seen.clipped(_whole(view), belief)))
            slope = logistic(guess.mean) * (1 - logistic(guess.mean))
            found.append(Estimate(2 * guess.chance - 1, min(1.0, 2 * slope * guess.variance**0.5)))
        return found

    def prefers(self, one: View, other: View) -> float:
        """The chance that a usual rater takes one answer over another."""
        x = [a - b for a, b in zip(_whole(one), _whole(other), strict=True)]
        return self.heat.warmed(self.main.guess(x)).chance

    def look(self, views: Sequence[View], found: Sequence[Estimate]) -> None:
        """Let the watch see fresh answers with what they were given."""
        audits = self.estimate(views, audit=True) if self.audited else [Estimate(0.0, 1.0)] * len(views)
        self.record.score(
            [Scored(a.mean, b.mean, view.covariates) for view, a, b in zip(views, found, audits, strict=True)]
        )

    def disown(self, rater: str) -> None:
        """Take back all that is kept of a rater's votes."""
        keys = list(self.of_rater.get(rater, ()))
        for belief, held in ((self.main, False), (self.audit, True)):
            sites = [self._undone(self.kept[key]) for key in keys if self.kept[key].held == held]
            if sites:
                belief.withdraw(sites)
        for key in keys:
            self._drop(key)

    def forget(self, rater: str) -> None:
        """As if this rater had never been known; their leniency and their record go too."""
        self.disown(rater)
        items = [item for item, votes in self.ledger.ballots.items() if rater in votes]
        self.ledger.forget(rater)
        self.changes.items.update(items)

    def forget_items(self, episode: str) -> None:
        """All votes on an episode's answers."""
        for key in [key for key, one in self.kept.items() if _about(one.item, episode)]:
            self._take_back(key)
        for item in [item for item in self.ledger.ballots if _about(item, episode)]:
            del self.ledger.ballots[item]
            self.ledger.credits.pop(item, None)
            self.changes.items.add(item)

    def _predict(self, vote: Vote, who: Standing, x: tuple[float, ...], guess: Guess, weight: float) -> None:
        """Before it is learned from. What the training critic says of held-out raters is the surest test of it."""
        if vote.source != "person" or weight < _TOLD or self.steps < 8:
            return  # a flood that teaches nothing says nothing of how well the critic does, either
        plain = _shifted(self.main.guess(x), who, pair=vote.against is not None) if who.held else guess
        told = self.heat.warmed(plain)
        self.heat.learn(plain, vote.wanted, weight)
        covariates = x[1 : 1 + len(vote.view.covariates)]
        # Whom the operator trusts, or where nobody is named, those whom the critic never learns from.
        named = "trusted" in self.ledger.marks.values()
        reliable = who.mark == "trusted" if named else who.held and self.ledger.trust(vote.rater) >= 0.6
        score = 2 * logistic(self.main.mean(x)) - 1
        pair = vote.against is not None
        self.record.judge(Judged(told.chance, vote.wanted, score, covariates, pair, reliable, vote.seq))

    def _learn(
        self,
        vote: Vote,
        who: Standing,
        x: tuple[float, ...],
        guess: Guess,
        weight: float,
        belief: Posterior,
        sides: tuple[tuple[float, ...], tuple[float, ...] | None],
    ) -> None:
        wanted = _SLIP + (1 - 2 * _SLIP) * vote.wanted
        one, mode = site(guess, wanted, weight)
        if sides[1] is None:
            one = self._forgive(who, guess, one, mode)
        belief.absorb(x, one)
        held = belief is self.audit
        self.audited += held
        if vote.source == "person" and not held:
            twin = self.twins[_half(vote.rater)]
            twin.absorb(x, site(twin.guess(x), wanted, weight)[0])
        for side in sides:
            if side is not None and vote.source == "person":
                self.seen.add(side, weight)
        who.mass += 0.0 if held else weight
        self._keep(Kept(vote.key, vote.rater, vote.item, vote.seq, self.block, weight, one, x, held))
        self.steps += 1
        if self.steps % _BLOCK == 0:
            self._fade()

    def _room(self, item: str, who: Standing) -> float:
        """However many agree on one answer, it says only so much; those who share a cap have one vote on it."""
        group, all_of_them, own = self.ledger.group_of(who), 0.0, 0.0
        for key in self.of_item.get(item, ()):
            one = self.kept[key]
            all_of_them += one.weight * self._left(one)
            other = self.ledger.raters.get(one.rater)
            if other and self.ledger.group_of(other) == group:
                own += one.weight * self._left(one)
        return max(0.0, min(_ITEM - all_of_them, 1.0 - own))

    def hold(self, one: Kept) -> None:
        """Enter a kept vote where it is looked for."""
        self.kept[one.key] = one
        self.of_rater.setdefault(one.rater, {})[one.key] = None
        self.of_item.setdefault(one.item, {})[one.key] = None

    def _forgive(self, who: Standing, guess: Guess, one: Site, mode: float) -> Site:
        """Part of what surprises is the rater's own leniency; the rest is the answer's."""
        variance = who.lenience_variance
        who.lenience += variance / max(guess.variance, 1e-9) * (mode - guess.mean)
        who.lenience_variance = variance / (1 + one.precision * variance)
        return Site(one.precision, one.linear - one.precision * who.lenience)

    def _keep(self, one: Kept) -> None:
        self.hold(one)
        own = self.of_rater[one.rater]
        self.changes.kept.add(one.key)
        self.changes.gone.discard(one.key)
        if len(own) > _KEPT:
            self._drop(next(iter(own)))

    def _take_back(self, key: str) -> None:
        one = self.kept.get(key)
        if one is None:
            return
        (self.audit if one.held else self.main).absorb(*self._undone(one, -1.0))
        if who := self.ledger.raters.get(one.rater):
            who.mass = max(0.0, who.mass - (0.0 if one.held else one.weight * self._left(one)))
        self._drop(key)

    def _drop(self, key: str) -> None:
        one = self.kept.pop(key)
        self.of_rater[one.rater].pop(key, None)
        self.of_item[one.item].pop(key, None)
        if not self.of_item[one.item]:
            del self.of_item[one.item]
        self.changes.kept.discard(key)
        self.changes.gone.add(key)

    def _undone(self, one: Kept, sign: float = 1.0) -> tuple[tuple[float, ...], Site, float]:
        return one.x, one.one, sign * self._left(one)

    def _left(self, one: Kept) -> float:
        return _FADE ** (self.block - one.block)

    def _fade(self) -> None:
        self.block += 1
        self.main.fade(_FADE)
        if self.audited:
            self.audit.fade(_FADE)
        for twin in self.twins:
            twin.fade(_FADE)
        self.ledger.fade(_FADE)


def fresh(features: int, covariates: int) -> Mind:
    """Nothing known yet."""
    return Mind([_LEVEL**-2, *[_COVARIATE**-2] * covariates, *[_FEATURE**-2] * features])


def _whole(view: View) -> tuple[float, ...]:
    return (1.0, *view.covariates, *view.features)


def _sides(vote: Vote) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
    return _whole(vote.view), _whole(vote.against) if vote.against else None


def _shifted(guess: Guess, who: Standing, *, pair: bool) -> Guess:
    """What this rater would say: alone they may be lenient or strict, between two they cannot."""
    if pair:
        return guess
    return Guess(guess.mean + who.lenience, guess.variance + who.lenience_variance)


def _half(rater: str) -> int:
    return hashlib.blake2b(rater.encode(), digest_size=8).digest()[0] % 2


def _about(item: str, episode: str) -> bool:
    return any(part.rpartition(":")[0] == episode for part in item.split("|"))
