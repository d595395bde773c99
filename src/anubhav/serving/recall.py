"""Recall: what a sampled sequence was drawn with, found by the sequence id a client keeps (record_stability_info)."""

import array
from dataclasses import dataclass

from anubhav.store import sequences
from anubhav.store.database import Database


@dataclass(frozen=True, slots=True)
class Recalled:
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of the sampler that drew the tokens, at the request's temperature."""


async def recall(database: Database, tenant: str, sequence: str) -> Recalled | None:
    """None when it was not recorded, is a day unused, or is another tenant's."""
    row = await database.run(lambda c: sequences.find(c, tenant, sequence))
    if row is None:
        return None
    tokens, logprobs = array.array("i"), array.array("f")
    tokens.frombytes(row.tokens)
    logprobs.frombytes(row.logprobs)
    return Recalled(tuple(tokens), tuple(logprobs))
