"""Who holds which key: API keys (stored as hashes, remembered once seen) and signed tickets for the pages.

A ticket stands in for a key in the browser's cookie. Its secret lives in this process only, so a restart signs
everybody out of the pages; API keys last.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from functools import partial

from anubhav.errors import BadInput, NotAuthenticated
from anubhav.store.database import Database
from anubhav.store.keys import add_key, find_key
from anubhav.types.ids import new_id
from anubhav.types.models import Principal

_KEY = re.compile(r"tml-[\x21-\x7e]{4,500}")
_HINT = "Send a key this server made (`tml-…`) in X-API-Key or as Authorization: Bearer."


class Keyring:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Principal] = {}
        self._secret = secrets.token_bytes(32)
        self._redeemed: set[str] = set()

    async def check(self, key: str) -> Principal:
        """Raises NotAuthenticated for a key this server does not know."""
        digest = _digest(key)
        found = self._known.get(digest)
        if found is None and _KEY.fullmatch(key):
            found = await self._database.run(partial(find_key, digest=digest))
        if found is None:
            raise NotAuthenticated("This server does not know the API key", hint=_HINT)
        self._known[digest] = found
        return found

    async def add(self, tenant: str, note: str = "", *, operator: bool = False) -> str:
        """The new key's text: shown this once, as only its hash is kept."""
        holder = Principal(tenant, new_id("key"), operator)
        key = f"tml-{holder.key_id.removeprefix('key_')}_{secrets.token_urlsafe(32)}"
        await self._keep(key, holder, note)
        return key

    async def preset(self, key: str) -> Principal:
        """Make `key` the operator's key of tenant `local`; raises BadInput for one the Tinker SDK would refuse."""
        if not _KEY.fullmatch(key):
            raise BadInput("An API key begins with `tml-`", hint="Set ANUBHAV_API_KEY to tml- and some random letters.")
        await self._keep(key, Principal("local", new_id("key"), operator=True), "preset")
        return await self.check(key)

    async def _keep(self, key: str, holder: Principal, note: str) -> None:
        await self._database.run(partial(add_key, digest=_digest(key), principal=holder, note=note))

    def issue_ticket(self, principal: Principal, *, seconds: float = 7 * 86400) -> str:
        """A signed stand-in for the principal's key, good for `seconds` and as long as this process lives."""
        fields = [principal.tenant, principal.key_id, principal.operator, time.time() + seconds, secrets.token_hex(8)]
        body = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
        return f"{body}.{self._sign(body)}"

    def check_ticket(self, ticket: str) -> Principal:
        """Raises NotAuthenticated for a ticket that is forged, too old or from before the last restart."""
        body, _, signature = ticket.rpartition(".")
        if not hmac.compare_digest(self._sign(body).encode(), signature.encode("utf-8", "replace")):
            raise NotAuthenticated(
                "The page's sign-in is not valid any more", hint="Open the address the server printed."
            )
        tenant, key_id, operator, until, _ = json.loads(base64.urlsafe_b64decode(body))
        if time.time() > until:
            raise NotAuthenticated("The page's sign-in is too old", hint="Open the address the server printed.")
        return Principal(tenant, key_id, operator)

    def redeem_ticket(self, ticket: str) -> Principal:
        """Like check_ticket, once: for a sign-in address that must not work for whoever finds it later."""
        principal = self.check_ticket(ticket)
        if ticket in self._redeemed:
            raise NotAuthenticated("This sign-in address was used before", hint="Restart the server for a new one.")
        self._redeemed.add(ticket)
        return principal

    def _sign(self, body: str) -> str:
        return hmac.new(self._secret, body.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
