"""Recall: what a sampled sequence was drawn with, found by the sequence id a client keeps (record_stability_info)."""

import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anubhav.store import sequences
from anubhav.store.database import Database
from anubhav.store.sequences import SequenceRow


@dataclass(frozen=True, slots=True)
class Recalled:
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of the sampler that drew the tokens, at the request's temperature."""


async def recall(database: Database, tenant: str, sequence: str) -> Recalled | None:
    """None when it was not recorded, is a day unused, or is another tenant's."""
    return (await recall_all(database, tenant, [sequence])).get(sequence)


async def recall_all(database: Database, tenant: str, wanted: Iterable[str]) -> Mapping[str, Recalled]:
    """Those of them that are there, by id."""
    names = list(wanted)
    rows = await database.run(lambda c: [sequences.find(c, tenant, name) for name in names])
    return {row.id: _read(row) for row in rows if row}


def _read(row: SequenceRow) -> Recalled:
    tokens, logprobs = array.array("i"), array.array("f")
    tokens.frombytes(row.tokens)
    logprobs.frombytes(row.logprobs)
    return Recalled(tuple(tokens), tuple(logprobs))
