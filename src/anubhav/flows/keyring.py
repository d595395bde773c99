"""Who holds which key: API keys (stored as hashes, remembered once seen), the short tokens clients exchange them for,
and signed tickets for the pages.

A token is a JWT that names its key; the key is looked up as the token is used, so it ends with the key. A ticket stands
in for a key in the browser's cookie. Its secret lives in this process only, so a restart signs everybody out of the
pages; API keys and tokens last.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from dataclasses import asdict
from functools import partial
from typing import Literal

import jwt

from anubhav.errors import BadInput, EndedToken, NotAllowed, NotAuthenticated, NotFound
from anubhav.store import quotas, usage
from anubhav.store.database import Connection, Database
from anubhav.store.keys import KeyRow, add_key, find_holder, find_key, find_note, find_row, list_keys, revoke_key
from anubhav.types.ids import new_id
from anubhav.types.models import SCOPES, Principal, Scope
from anubhav.types.quotas import Quota, Use

Prefix = Literal["tml", "sk"]
"""What keys begin with: `tml` for Tinker's SDK, `sk` for MinT's; the server takes either anywhere."""
TOKEN_SECONDS = 3600.0
_KEY = re.compile(r"(tml|sk)-[\x21-\x7e]{4,500}")
_HINT = "Send a key this server made (`tml-…`) in X-API-Key or as Authorization: Bearer."
_TOKEN, _LONGEST_TOKEN = "eyJ", 1000
"""How every JWT begins, as a JSON object does in base64, and more characters than one of ours has."""
_ISSUER = "passport-anubhav"
"""The SDK reads who it is from a token it was given as its key only if the issuer begins so."""


class Keyring:
    def __init__(self, database: Database, secret: bytes | None = None) -> None:
        """`secret` signs the tokens; without one they end with this process."""
        self._database = database
        self._known: dict[str, Principal] = {}
        self._holders: dict[str, Principal] = {}
        self._revoked: set[str] = set()
        self._token_secret = secret or secrets.token_bytes(32)
        self._secret = secrets.token_bytes(32)
        self._redeemed: set[str] = set()

    async def check(self, key: str) -> Principal:
        """Whose key or token it is. Raises NotAuthenticated for one this server does not know."""
        if key.startswith(_TOKEN):
            return await self._check_token(key)
        digest = _digest(key)
        found = self._known.get(digest)
        if found is None and _KEY.fullmatch(key):
            found = await self._database.run(partial(find_key, digest=digest))
        if found is None or found.key_id in self._revoked:
            raise NotAuthenticated("This server does not know the API key", hint=_HINT)
        self._known[digest] = found
        return found

    async def add(
        self,
        tenant: str,
        note: str = "",
        *,
        operator: bool = False,
        prefix: Prefix = "tml",
        scopes: frozenset[Scope] = SCOPES,
        quota: Quota | None = None,
        by: Principal | None = None,
    ) -> str:
        """The new key's text: shown this once, as only its hash is kept. `quota` becomes that of the whole tenant.

        `by`: who makes it, for the audit; None is the server itself. So everywhere here.
        """
        if operator and "admin" not in scopes:
            raise BadInput("An operator's key needs the scope admin", hint="Name it, or leave the scopes out.")
        holder = Principal(tenant, new_id("key"), operator, scopes)
        key = f"{prefix}-{holder.key_id.removeprefix('key_')}_{secrets.token_urlsafe(32)}"

        def keep(connection: Connection) -> None:
            _add(connection, key, holder, note, by)
            if quota is not None:
                _limit(connection, tenant, quota, by)

        await self._database.run(keep)
        return key

    async def quota(self, tenant: str) -> tuple[Quota, Use]:
        """What the tenant may use, and what it uses now."""
        return await self._database.run(lambda c: (quotas.find(c, tenant), quotas.use(c, tenant)))

    async def set_quota(self, tenant: str, quota: Quota, by: Principal | None = None) -> None:
        """For the next request on."""
        await self._database.run(lambda c: _limit(c, tenant, quota, by))

    async def preset(self, key: str) -> Principal:
        """Make `key` the operator's key of tenant `local`; raises BadInput for one the Tinker SDK would refuse."""
        if not (_KEY.fullmatch(key) and key.startswith("tml-")):
            raise BadInput("An API key begins with `tml-`", hint="Set ANUBHAV_API_KEY to tml- and some random letters.")
        holder = Principal("local", new_id("key"), operator=True)
        await self._database.run(lambda c: _add(c, key, holder, "preset", None))
        try:
            return await self.check(key)
        except NotAuthenticated as problem:
            raise BadInput(
                "The key this server is to start with was revoked",
                hint="Set ANUBHAV_API_KEY to another, or delete the key file in the data folder to have one made.",
            ) from problem

    async def note(self, holder: Principal) -> str:
        """What was written on the key when it was made."""
        return await self._database.run(partial(find_note, key_id=holder.key_id))

    async def keys(self, before: int | None = None, limit: int = 100) -> list[KeyRow]:
        """Of all tenants, made last first, a page at a time."""
        return await self._database.run(lambda c: list_keys(c, before, limit))

    async def find(self, key_id: str) -> KeyRow:
        """Raises NotFound when there never was such a key."""
        found = await self._database.run(partial(find_row, key_id=key_id))
        if found is None:
            raise NotFound(f"There is no key {key_id[:100]}", hint="List them with `anubhav key list`.")
        return found

    async def revoke(self, key_id: str, by: Principal | None = None) -> None:
        """End the key, with its tokens and tickets. Raises NotFound, and NotAllowed for the last key of an operator."""
        holder = await self._database.run(partial(find_holder, key_id=key_id))
        if holder is None:
            raise NotFound(f"There is no key {key_id[:100]} in use", hint="List them with `anubhav key list`.")
        if not await self._database.run(lambda c: _revoke(c, holder, by)):
            raise NotAllowed(
                "This is the last operator's key, and without it nobody could make keys any more",
                hint="Make another with `anubhav key create --operator` first.",
            )
        self._revoked.add(key_id)

    async def exchange(self, credential: str) -> str:
        """A token for a key. One made from another token ends when that one does, so none can be renewed for ever."""
        holder = await self.check(credential)
        now = time.time()
        until = now + TOKEN_SECONDS
        if credential.startswith(_TOKEN):
            until = float(self._read_token(credential)["exp"])
        claims = {
            "iss": _ISSUER,
            "sub": f"tml:user:{holder.tenant}",
            "org_id": holder.tenant,
            "email": "",
            "key": holder.key_id,
            "iat": now,
            "exp": until,
        }
        return jwt.encode(claims, self._token_secret, algorithm="HS256")  # pyright: ignore[reportUnknownMemberType]

    async def _check_token(self, token: str) -> Principal:
        key_id = str(self._read_token(token)["key"])
        found = self._holders.get(key_id) or await self._database.run(partial(find_holder, key_id=key_id))
        if found is None or key_id in self._revoked:
            raise EndedToken("The key behind this token was revoked", hint=_HINT)
        self._holders[key_id] = found
        return found

    def _read_token(self, token: str) -> dict[str, str | float]:
        """Its claims. Raises EndedToken unless this server signed it and it is not too old."""
        if len(token) > _LONGEST_TOKEN:
            raise EndedToken("This server did not make the token", hint=_HINT)
        required = ["iss", "exp", "iat", "key"]
        try:
            return jwt.decode(  # pyright: ignore[reportUnknownMemberType] - of a library pyjwt may do without
                token, self._token_secret, algorithms=["HS256"], issuer=_ISSUER, options={"require": required}
            )
        except jwt.ExpiredSignatureError as problem:
            raise EndedToken("The token is too old", hint="Exchange the key for another.") from problem
        except jwt.InvalidTokenError as problem:
            raise EndedToken("This server did not make the token", hint=_HINT) from problem

    def issue_ticket(self, principal: Principal, *, seconds: float = 7 * 86400) -> str:
        """A signed stand-in for the principal's key, good for `seconds` and as long as this process lives."""
        until = time.time() + seconds
        about = [principal.tenant, principal.key_id, principal.operator, sorted(principal.scopes)]
        fields = [*about, until, secrets.token_hex(8)]
        body = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
        return f"{body}.{self._sign(body)}"

    def check_ticket(self, ticket: str) -> Principal:
        """Raises NotAuthenticated for a ticket that is forged, too old, of a revoked key or from before the restart."""
        body, _, signature = ticket.rpartition(".")
        if not hmac.compare_digest(self._sign(body).encode(), signature.encode("utf-8", "replace")):
            raise NotAuthenticated(
                "The page's sign-in is not valid any more", hint="Open the address the server printed."
            )
        tenant, key_id, operator, scopes, until, _ = json.loads(base64.urlsafe_b64decode(body))
        if time.time() > until or key_id in self._revoked:
            raise NotAuthenticated("The page's sign-in is too old", hint="Open the address the server printed.")
        return Principal(tenant, key_id, operator, frozenset(scopes))

    async def redeem_ticket(self, ticket: str) -> Principal:
        """Like check_ticket, once: for a sign-in address that must not work for whoever finds it later."""
        principal = self.check_ticket(ticket)
        if ticket in self._redeemed:
            raise NotAuthenticated("This sign-in address was used before", hint="Restart the server for a new one.")
        self._redeemed.add(ticket)
        about = {"key": principal.key_id}
        await self._database.run(lambda c: usage.note(c, principal.tenant, "console_sign_in", about))
        return principal

    def _sign(self, body: str) -> str:
        return hmac.new(self._secret, body.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _add(connection: Connection, key: str, holder: Principal, note: str, by: Principal | None) -> None:
    if add_key(connection, digest=_digest(key), principal=holder, note=note):
        about = {"key": holder.key_id, "scopes": " ".join(sorted(holder.scopes)), "operator": holder.operator}
        usage.note(connection, holder.tenant, "key_create", about | {"note": note} | _actor(by))


def _revoke(connection: Connection, holder: Principal, by: Principal | None) -> bool:
    done = revoke_key(connection, holder.key_id)
    if done:
        usage.note(connection, holder.tenant, "key_revoke", {"key": holder.key_id} | _actor(by))
    return done


def _limit(connection: Connection, tenant: str, quota: Quota, by: Principal | None) -> None:
    quotas.keep(connection, tenant, quota)
    usage.note(connection, tenant, "quota_set", asdict(quota) | _actor(by))


def _actor(by: Principal | None) -> dict[str, object]:
    return {"by": by.tenant, "by_key": by.key_id} if by else {"by": "the server"}


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
