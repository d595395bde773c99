"""What went wrong among tensors, in the house's words. The log keeps what a client has no use for."""

import logging

import torch

from anubhav.errors import AnubhavError, Broken

_NO_MEMORY = ("DefaultCPUAllocator", "out of memory")
"""What RuntimeErrors say that are torch's way of running out of memory without an OutOfMemoryError."""

log = logging.getLogger(__name__)


def told(problem: BaseException) -> AnubhavError:
    """What a client is told of it: the house's own errors as they are, any other one as Broken, and logged."""
    if isinstance(problem, AnubhavError):
        return problem
    log.error("the engine failed", exc_info=problem)
    # Not as its cause: the tensors of the frames it came through would live as long as it does.
    if _is_memory(problem):
        return Broken("The engine ran out of memory on this", hint="Send fewer or shorter data at a time.")
    return Broken("The engine failed at this", hint="The server's log says why.")


def _is_memory(problem: BaseException) -> bool:
    if isinstance(problem, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(problem, RuntimeError) and any(mark in str(problem) for mark in _NO_MEMORY)
