"""Routing replay over the wire: a datum that says which sampled sequence it came from is given the experts that this
sequence's tokens went to, so that training sends them there again. Clients need nothing but their provenance.
"""

import array
from collections.abc import Mapping, Sequence
from dataclasses import replace

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.serving.recall import Recalled
from anubhav.types.arrays import Array
from anubhav.types.provenance import Span
from anubhav.types.training import ROUTES, Datum, Pass


async def with_routes(house: House, tenant: str, work: Pass, sources: Sequence[Sequence[Span]]) -> Pass:
    """`sources`: where the tokens of each datum came from. What was not recorded is left to the trainer's own choice.

    Raises BadInput for tokens that are not those of their sequence.
    """
    lacking = {
        number: spans for number, spans in enumerate(sources) if spans and ROUTES not in work.data[number].inputs
    }
    if not lacking:
        return work
    known = await house.sampling.recall(tenant, dict.fromkeys(span.sequence for s in lacking.values() for span in s))
    data = list(work.data)
    for number, spans in lacking.items():
        data[number] = _routed(number, data[number], spans, known)
    return replace(work, data=tuple(data))


def _routed(number: int, datum: Datum, spans: Sequence[Span], known: Mapping[str, Recalled]) -> Datum:
    tables = [found.routes.table for span in spans if (found := known.get(span.sequence)) and found.routes]
    if not tables:
        return datum
    shape = tables[0].shape[1:]
    free = array.array("i", [-1] * shape[0] * shape[1]).tobytes()
    rows = b""
    here = 0
    for span in spans:
        found = known.get(span.sequence)
        if found and span.sampled:
            _check(number, span, found, datum.tokens[here : here + span.length])
        part = _part(span, found, len(free))
        rows += part + free * (span.length - len(part) // len(free))
        here += span.length
    table = Array("int32", (len(datum.tokens), *shape), rows)
    return replace(datum, inputs={**datum.inputs, ROUTES: table})


def _part(span: Span, found: Recalled | None, width: int) -> bytes:
    """The rows of a span, as far as they are known: the last token of a sample was never read."""
    if found is None or found.routes is None:
        return b""
    end = found.routes.prompt if not span.sampled else len(found.routes.table)
    start = span.offset + (found.routes.prompt if span.sampled else 0)
    return found.routes.table.data[start * width : min(start + span.length, end) * width]


def _check(number: int, span: Span, found: Recalled, tokens: Sequence[int]) -> None:
    if found.tokens[span.offset : span.offset + span.length] != tuple(tokens):
        raise BadInput(
            f"Datum {number} has tokens that are not those from {span.offset} on of {span.sequence[:100]}",
            hint="Let the spans over model_input tile its tokens.",
        )
