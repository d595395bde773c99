"""The errors of Anubhav: one tree, raised where known, translated to HTTP in one place (`http/errors.py`).

AnubhavError
├── BadInput            the request can never succeed as it stands
│   ├── TooLarge
│   └── Mismatch        an id was used before with another content
├── NotAuthenticated    no key, or one we do not know
│   └── EndedToken      a token that is not valid any more, or never was; the key may still be
├── NotAllowed          the key is known, the thing is not for it
├── Spent               a quota that fills up again is used up
├── NotFound            no such model, run, checkpoint, episode … or not yours
├── Gone                it existed and its result was given up; ask anew
├── Busy                a queue is full; wait and repeat
├── Unavailable         not now: starting, stopping, disk full
│   └── Lost            what a process elsewhere held is gone with it, and has to be brought there again
├── MissingPart         an optional package or a model is not installed; the hint is the command to type
└── Broken              our fault: an invariant failed or the engine died

A message says what happened and why; the hint says what to do next. Neither holds an internal path or name.
"""


class AnubhavError(Exception):
    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class BadInput(AnubhavError):
    """The request can never succeed as it stands."""


class TooLarge(BadInput):
    """More bytes or tokens than a limit allows; the message names the limit."""


class Mismatch(BadInput):
    """An id that must name one thing was sent again with another content."""


class NotAuthenticated(AnubhavError):
    """No key, or a key we do not know."""


class EndedToken(NotAuthenticated):
    """A token that is too old, forged or of a revoked key; its holder may exchange the key for another."""


class NotAllowed(AnubhavError):
    """A known key that may not do this."""


class Spent(AnubhavError):
    """A quota that fills up again by itself is used up; the hint says when it does."""


class NotFound(AnubhavError):
    """It does not exist, or it is another tenant's: the two look alike on purpose."""


class Gone(AnubhavError):
    """It existed, and its result is no longer kept."""


class Busy(AnubhavError):
    def __init__(self, message: str, *, hint: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Unavailable(AnubhavError):
    """Not now: starting, stopping, or no room on the disk."""


class Lost(Unavailable):
    """A process elsewhere died, and what it held in memory with it; another one is there, or will be."""


class MissingPart(AnubhavError):
    """An optional package or a model is not installed."""


class Broken(AnubhavError):
    """Our fault. The log has the details under the request id."""
