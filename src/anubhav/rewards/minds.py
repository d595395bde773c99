"""A mind as rows and back: what is read is exactly what was written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from anubhav.rewards.mind import Changes, Kept, Mind, fresh
from anubhav.rewards.posterior import Heat, Posterior
from anubhav.rewards.standing import Standing
from anubhav.rewards.watch import Judged, Record, Scored
from anubhav.store import beliefs
from anubhav.store.beliefs import Found, Place
from anubhav.store.database import Connection
from anubhav.types.rewards import Mark


@dataclass(frozen=True, slots=True)
class Written:
    """A mind's changes, packed, so that the store's thread meets nothing that moves."""

    place: Place
    body: bytes
    kept: Mapping[str, tuple[int, bytes]]
    gone: tuple[str, ...]
    raters: Mapping[str, tuple[int, bytes]]
    lost: tuple[str, ...]
    ballots: Mapping[str, bytes | None]

    def put(self, connection: Connection) -> None:
        beliefs.put(connection, self.place, self.body)
        beliefs.put_votes(connection, self.place, self.kept, self.gone)
        beliefs.put_raters(connection, self.place, self.raters, self.lost)
        beliefs.put_ballots(connection, self.place, self.ballots)


def write(place: Place, mind: Mind) -> Written:
    """Everything that changed since the last time; the changes count as written then."""
    changes, ledger = mind.changes, mind.ledger
    touched = sorted(ledger.touched)
    found = Written(
        place,
        _body(mind),
        {key: (mind.kept[key].seq, _pack(mind.kept[key])) for key in sorted(changes.kept)},
        tuple(sorted(changes.gone)),
        {name: (ledger.raters[name].number, _pack(ledger.raters[name])) for name in touched if name in ledger.raters},
        tuple(name for name in touched if name not in ledger.raters),
        {item: _ballot(mind, item) for item in sorted(changes.items)},
    )
    mind.changes = Changes()
    ledger.touched.clear()
    return found


def read(found: Found | None, features: int, covariates: int, marks: Mapping[str, Mark]) -> Mind:
    mind = fresh(features, covariates)
    if found:
        _fill(mind, found)
    mind.ledger.marks = dict(marks)
    return mind


def _fill(mind: Mind, found: Found) -> None:
    body: dict[str, Any] = msgspec.msgpack.decode(found.body)
    mind.main, mind.audit = Posterior.unpack(body["main"]), Posterior.unpack(body["audit"])
    first, second = body["twins"]
    mind.twins = (Posterior.unpack(first), Posterior.unpack(second))
    mind.heat = Heat(*body["heat"])
    mind.steps, mind.block, mind.audited = body["counts"]
    mind.seen.weight, mind.seen.mean, mind.seen.square = body["seen"]
    mind.record = _record(body["record"])
    for packed in found.kept:
        mind.hold(msgspec.msgpack.decode(packed, type=Kept))
    mind.ledger.restore([msgspec.msgpack.decode(packed, type=Standing) for packed in found.raters])
    for item, packed in found.ballots:
        votes: list[tuple[str, float, float]] = msgspec.msgpack.decode(packed)
        mind.ledger.ballots[item] = {name: said for name, said, _ in votes}
        mind.ledger.credits[item] = {name: credit for name, _, credit in votes if credit}


def _body(mind: Mind) -> bytes:
    record = mind.record
    return _pack(
        {
            "main": mind.main.pack(),
            "audit": mind.audit.pack(),
            "twins": [twin.pack() for twin in mind.twins],
            "heat": (mind.heat.log, mind.heat.variance),
            "counts": (mind.steps, mind.block, mind.audited),
            "seen": (mind.seen.weight, mind.seen.mean, mind.seen.square),
            "record": {
                "judged": [
                    (one.chance, one.wanted, one.score, one.covariates, one.pair, one.reliable, one.seq)
                    for one in record.judged
                ],
                "scored": [(one.score, one.audit, one.covariates) for one in record.scored],
                "ringing": record.ringing,
                "events": record.events,
            },
        }
    )


def _record(body: dict[str, Any]) -> Record:
    return Record(
        [
            Judged(chance, wanted, score, tuple(covariates), pair, reliable, *seq)
            for chance, wanted, score, covariates, pair, reliable, *seq in body["judged"]
        ],
        [Scored(score, audit, tuple(covariates)) for score, audit, covariates in body["scored"]],
        body["ringing"],
        body["events"],
    )


def _ballot(mind: Mind, item: str) -> bytes | None:
    votes, credits = mind.ledger.ballots.get(item), mind.ledger.credits.get(item, {})
    return _pack([(name, said, credits.get(name, 0.0)) for name, said in votes.items()]) if votes else None


def _pack(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)
