"""Operations as they lie in the journal: a kind and msgpack, with a digest that tells a repeat from a mix-up."""

import hashlib
from dataclasses import replace
from typing import Any

import msgspec

from anubhav.types.operations import Compute, Create, Distil, Load, Operation, Save, Step

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Create, Load, Compute, Step, Save, Distil)}


def write_operation(operation: Operation) -> tuple[str, bytes, str]:
    """(kind, body, digest). Equal operations give equal digests, whatever order their mappings were built in."""
    body, said = _encode(operation), operation
    if isinstance(operation, Save) and operation.sampler:
        # The SDK counts its samplers up even when it only sends a save again; the first one named stays.
        said = replace(operation, sampler="")
    if isinstance(operation, Distil):
        # Sent again, it means the files that its path named the first time.
        said = replace(operation, files=None)
    kind = type(operation).__name__
    return kind, body, hashlib.sha256(kind.encode() + _encode(said)).hexdigest()


def _encode(operation: Operation) -> bytes:
    return msgspec.msgpack.encode(operation, order="deterministic")


def read_operation(kind: str, body: bytes) -> Operation:
    return msgspec.msgpack.decode(body, type=_KINDS[kind])


def rename_adapter(operation: Operation, adapter: str) -> Operation:
    """A pass always works on its own run's adapter, whatever it was labelled."""
    if isinstance(operation, Compute):
        return Compute(replace(operation.work, adapter=adapter))
    return operation
