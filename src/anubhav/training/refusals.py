"""What stands in the journal for an operation that was refused, so that the operations behind it are not held for ever.

A client numbers its operations whether they are accepted or not. One refused at once leaves a *void*: it is passed over
when something comes behind it, and until then the same number may be used again. One that came before its predecessors
is a chunk of a pass: the SDK sends the first chunk last, not at all when another was refused, and then waits for its
own turn for ever. Such a chunk is accepted as a *refusal*: a promise that fails in its turn, with the reason.
"""

from dataclasses import dataclass

from anubhav.errors import AnubhavError, BadInput, Broken, Gone, MissingPart, NotAllowed, NotFound, Spent
from anubhav.store import runs
from anubhav.store.database import Connection
from anubhav.store.runs import OpRow
from anubhav.training.promises import write_outcome
from anubhav.types.ids import RunId, new_id

VOID, REFUSAL = "Void", "Refusal"
"""Kinds of rows in the journal; their body is the error."""
FINAL = (BadInput, NotFound, NotAllowed, Spent, MissingPart, Gone, Broken)
"""What a client does not repeat: it goes on with the next number."""


@dataclass(frozen=True, slots=True)
class Stand:
    op: OpRow
    ahead: bool
    """It came before its predecessors, so the client gets its promise."""


def stand_in(connection: Connection, run: RunId, number: int, refusal: AnubhavError) -> Stand | None:
    """Journal the refusal in its place. None: the place is behind the run already, or another operation has it."""
    seq, settled = runs.place(connection, run, number), runs.last_settled(connection, run)
    if seq <= settled:
        return None
    ahead = runs.count_between(connection, run, settled, seq) < seq - settled - 1
    found = runs.find_op(connection, run, seq)
    if found is not None:
        return Stand(found, found.kind == REFUSAL) if found.kind in (VOID, REFUSAL) else None
    kind = REFUSAL if ahead else VOID
    op = OpRow(run, seq, kind, write_outcome(refusal), "", new_id("tp"), "pending", None)
    runs.add_op(connection, op)
    return Stand(op, ahead)


def fill_gap(connection: Connection, run: RunId, missing: range) -> OpRow | None:
    """Settle as failed what never arrived. If one did, only what is missing before it; that one is returned."""
    never = Gone("The operation did not arrive before those behind it", hint="Send it again under a new number.")
    for seq in missing:
        if came := runs.find_op(connection, run, seq):
            return came
        runs.add_op(connection, OpRow(run, seq, VOID, b"", "", new_id("tp"), "pending", None))
        runs.settle_op(connection, run, seq, "failed", write_outcome(never))
    return None


def is_open(found: OpRow | None) -> bool:
    """Whether an operation may still take this place."""
    return found is None or (found.kind == VOID and found.state == "pending")
