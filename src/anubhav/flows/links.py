"""Signed links: addresses that fetch one thing for a while without a key, since what downloads them has none.

The secret lies in the data folder, so a link outlives a restart; whoever may read that folder needs no link.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path
from typing import cast

from anubhav.errors import NotAllowed

_HINT = "Ask for a new one."


class Links:
    def __init__(self, file: Path) -> None:
        """`file` holds the secret; it is made, readable for this user alone, when it is not there."""
        self._secret = kept_secret(file)

    def sign(self, *subject: str, seconds: float) -> tuple[str, float]:
        """(ticket, when it ends). The ticket is one segment of an address."""
        until = time.time() + seconds
        body = base64.urlsafe_b64encode(json.dumps([until, *subject]).encode()).decode().rstrip("=")
        return f"{body}.{self._mark(body)}", until

    def check(self, ticket: str) -> tuple[str, ...]:
        """What was signed. Raises NotAllowed for a ticket that is forged or too old."""
        body, _, mark = ticket.partition(".")
        if not hmac.compare_digest(self._mark(body).encode(), mark.encode("utf-8", "replace")):
            raise NotAllowed("The address is not one this server signed", hint=_HINT)
        try:
            until, *subject = cast("list[object]", json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
        except (ValueError, binascii.Error) as problem:
            raise NotAllowed("The address is not one this server signed", hint=_HINT) from problem
        if not isinstance(until, float) or time.time() > until:
            raise NotAllowed("The address is too old", hint=_HINT)
        return tuple(map(str, subject))

    def _mark(self, body: str) -> str:
        return hmac.new(self._secret, body.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def kept_secret(file: Path) -> bytes:
    """The 32 random bytes in `file`, which is made, readable for this user alone, when it is not there."""
    if not file.exists():
        draft = file.with_name(f".{file.name}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(secrets.token_bytes(32))
            out.flush()
            os.fsync(out.fileno())
        draft.rename(file)
    return file.read_bytes()
