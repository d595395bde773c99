"""Recall: what a sampled sequence was drawn with, found by the sequence id a client keeps (record_stability_info)."""

import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anubhav.store import sequences
from anubhav.store.database import Database
from anubhav.store.sequences import SequenceRow
from anubhav.types.arrays import Array


@dataclass(frozen=True, slots=True)
class Routes:
    """Which experts a sequence went to."""

    prompt: int
    """How many of the rows are of its prompt; the others are of its tokens."""
    table: Array
    """As `types.training.ROUTES` has it."""


@dataclass(frozen=True, slots=True)
class Recalled:
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of the sampler that drew the tokens, at the request's temperature."""
    routes: Routes | None = None
    """Of a model of experts."""


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
    return Recalled(tuple(tokens), tuple(logprobs), _unpack(row.routes) if row.routes else None)


def pack_routes(prompt: int, parts: Sequence[Array]) -> bytes | None:
    """The events' routes of one sample, after a prompt of so many tokens. No model has 32,768 experts."""
    if not parts:
        return None
    head = array.array("i", [prompt, sum(len(part) for part in parts), *parts[0].shape[1:]])
    return head.tobytes() + b"".join(array.array("h", part.tolist()).tobytes() for part in parts)  # pyright: ignore[reportArgumentType]


def _unpack(packed: bytes) -> Routes:
    head, values = array.array("i"), array.array("h")
    head.frombytes(packed[:16])
    values.frombytes(packed[16:])
    prompt, *shape = head
    return Routes(prompt, Array("int32", tuple(shape), array.array("i", values).tobytes()))
