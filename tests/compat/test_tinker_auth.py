"""Keys and the tokens they are exchanged for, with the Tinker SDK and on the wire."""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
import tinker
from lessons_for_tinker import MODEL

from anubhav.errors import BadInput, EndedToken, NotAuthenticated
from anubhav.flows.keyring import Keyring
from anubhav.flows.links import kept_secret
from anubhav.store.database import Database

pytestmark = pytest.mark.tinker_sdk
PLACES = ("/api/v1/get_server_capabilities", "/v1/models", "/oai/api/v1/models", "/v1/releases")


def get(server: Any, path: str, credential: str, *, bearer: bool = False) -> httpx2.Response:
    headers = {"authorization": f"Bearer {credential}"} if bearer else {"x-api-key": credential}
    return httpx2.get(server.url + path, headers=headers)


def exchange(server: Any, credential: str) -> httpx2.Response:
    return httpx2.post(f"{server.url}/api/v1/auth/token", json={}, headers={"x-api-key": credential})


def token(server: Any, key: str) -> str:
    answer = exchange(server, key)
    assert answer.status_code == 200, answer.text
    return answer.json()["jwt"]


def test_a_key_and_its_token_open_every_face(tinker_server: Any) -> None:
    made = token(tinker_server, tinker_server.key)
    for path in PLACES:
        for credential in (tinker_server.key, made):
            for bearer in (False, True):
                assert get(tinker_server, path, credential, bearer=bearer).status_code == 200, (path, bearer)


def test_what_a_token_says(tinker_server: Any) -> None:
    key = tinker_server.add_key("anna")
    made = token(tinker_server, key)
    claims = jwt.decode(made, options={"verify_signature": False})
    assert {"iss", "sub", "org_id", "email", "iat", "exp"} <= set(claims)
    assert (claims["sub"], claims["org_id"]) == ("tml:user:anna", "anna")
    assert 0 < claims["exp"] - claims["iat"] <= 3600
    assert key not in made
    again = jwt.decode(token(tinker_server, made), options={"verify_signature": False})
    assert again["exp"] == claims["exp"], "a token renewed itself"


def signed(secret: bytes, claims: dict[str, Any], algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


@pytest.mark.filterwarnings("ignore:The HMAC key is")
def test_tokens_that_are_not_ours_are_refused(tinker_server: Any) -> None:
    good = token(tinker_server, tinker_server.key)
    claims = jwt.decode(good, options={"verify_signature": False})
    head, body, mark = good.split(".")
    secret = tinker_server.keyring._token_secret
    widened = base64.urlsafe_b64encode(json.dumps(claims | {"org_id": "other"}).encode()).decode().rstrip("=")
    nested = base64.urlsafe_b64encode(b"[" * 700).decode().rstrip("=")
    wrong = {
        "expired": signed(secret, claims | {"iat": time.time() - 7200, "exp": time.time() - 1}),
        "foreign": signed(b"another server's secret, long enough", claims),
        "unsigned": jwt.encode(claims, "", algorithm="none"),
        "other algorithm": signed(secret, claims, "HS384"),
        "changed": f"{head}.{widened}.{mark}",
        "cut": f"{head}.{body}.",
        "without an end": signed(secret, {name: claims[name] for name in claims if name != "exp"}),
        "of another issuer": signed(secret, claims | {"iss": "passport-elsewhere"}),
        "of no key": signed(secret, claims | {"key": "key_nobody"}),
        "deep": f"eyJ{nested}.{nested}.{mark}",
        "long": f"{good}{'A' * 2000}",
        "bare": "eyJ",
    }
    for what, credential in wrong.items():
        for bearer in (False, True):
            answer = get(tinker_server, PLACES[0], credential, bearer=bearer)
            assert answer.status_code == 401, what
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"', what
        assert exchange(tinker_server, credential).status_code == 401, what
    assert get(tinker_server, PLACES[0], "tml-nobodys").headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_ends_with_its_tokens(tinker_server: Any) -> None:
    key = tinker_server.add_key("brief")
    made = token(tinker_server, key)
    about = get(tinker_server, "/api/v1/auth/apikey/me", key).json()
    assert isinstance(about["key_id"], int)
    assert about["details"]["org_details"]["name"] == "brief"
    assert get(tinker_server, PLACES[0], made).status_code == 200
    revoked = httpx2.delete(f"{tinker_server.url}/api/v1/auth/apikey/me", headers={"x-api-key": key})
    assert revoked.status_code == 204
    for credential in (key, made):
        assert get(tinker_server, PLACES[0], credential).status_code == 401
        assert exchange(tinker_server, credential).status_code == 401


def test_the_last_operators_key_cannot_be_revoked(tinker_server: Any) -> None:
    mine = {"x-api-key": tinker_server.key}
    address = f"{tinker_server.url}/api/v1/auth/apikey/me"
    refused = httpx2.delete(address, headers=mine)
    assert refused.status_code == 403
    assert "last operator" in refused.json()["detail"]
    made = httpx2.post(f"{tinker_server.url}/v1/keys", json={"tenant": "second", "operator": True}, headers=mine)
    assert httpx2.delete(address, headers={"x-api-key": made.json()["key"]}).status_code == 204
    assert httpx2.get(address, headers=mine).status_code == 200


async def test_tokens_outlive_a_restart_and_revocation_too(tmp_path: Path) -> None:
    database = Database(tmp_path / "keys.db")
    secret = kept_secret(tmp_path / "token-key")
    first = Keyring(database, secret)
    kept, lost = await first.add("anna"), await first.add("bert")
    tokens = [await first.exchange(key) for key in (kept, lost)]
    await first.revoke((await first.check(lost)).key_id)
    ticket = first.issue_ticket(await first.check(kept))
    assert first.check_ticket(ticket).tenant == "anna"
    await first.revoke((await first.check(kept)).key_id)
    with pytest.raises(NotAuthenticated):
        first.check_ticket(ticket)
    again = Keyring(database, kept_secret(tmp_path / "token-key"))
    fresh = await again.add("carla")
    assert (await Keyring(database, secret).check(await first.exchange(fresh))).tenant == "carla"
    for old in (kept, lost, *tokens):
        with pytest.raises(NotAuthenticated):
            await again.check(old)
    with pytest.raises(EndedToken):
        await Keyring(database, b"x" * 32).check(await first.exchange(fresh))
    database.close()


async def test_a_revoked_key_is_not_started_with(tmp_path: Path) -> None:
    database = Database(tmp_path / "keys.db")
    keyring = Keyring(database)
    holder = await keyring.preset("tml-first-one")
    await keyring.add("local", operator=True)
    await keyring.revoke(holder.key_id)
    with pytest.raises(BadInput, match="revoked"):
        await Keyring(database).preset("tml-first-one")
    database.close()


def test_what_mints_scripts_ask_for(tinker_server: Any) -> None:
    assert httpx2.get(f"{tinker_server.url}/health").json() == httpx2.get(f"{tinker_server.url}/healthz").json()
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as service:
        path = service.create_lora_training_client(MODEL, rank=2).result().save_state("kept").result().path
        theirs = path.replace("tinker://", "mint://")
        again = service.create_training_client_from_state(theirs).result()
        assert again.get_info().lora_rank == 2
    headers = {"x-api-key": tinker_server.key}
    body = {"model": theirs, "prompt": "a", "max_tokens": 1}
    assert httpx2.post(f"{tinker_server.url}/v1/completions", json=body, headers=headers).status_code == 200
    wrong = {"model": theirs.replace("mint://", "flint://"), "prompt": "a", "max_tokens": 1}
    assert httpx2.post(f"{tinker_server.url}/v1/completions", json=wrong, headers=headers).status_code == 404


def test_keys_for_mint(tinker_server: Any) -> None:
    headers = {"x-api-key": tinker_server.key}
    made = httpx2.post(f"{tinker_server.url}/v1/keys", json={"tenant": "mint", "prefix": "sk"}, headers=headers)
    key = made.json()["key"]
    assert key.startswith("sk-")
    assert get(tinker_server, PLACES[0], key).status_code == 200
    assert get(tinker_server, PLACES[0], token(tinker_server, key), bearer=True).status_code == 200
    wrong = httpx2.post(f"{tinker_server.url}/v1/keys", json={"tenant": "mint", "prefix": "pk"}, headers=headers)
    assert wrong.status_code == 400


def test_the_sdk_works_with_a_token_and_survives_the_end_of_one(tinker_server: Any) -> None:
    key = tinker_server.add_key("dora")
    made = token(tinker_server, key)
    for credential in (key, made):
        who = tinker.RestClient(base_url=tinker_server.url, api_key=credential).whoami().result()
        assert (who.user_urn, who.org_urn) == ("tml:user:dora", "tml:organization:dora")
    rest = tinker.RestClient(base_url=tinker_server.url, api_key=key)
    assert rest.get_server_capabilities().result().supported_models[0].model_name == MODEL
    # The server's secret changes: the SDK is told that its token is no more, and exchanges its key again.
    before, tinker_server.keyring._token_secret = tinker_server.keyring._token_secret, b"y" * 32
    try:
        assert rest.get_server_capabilities().result().supported_models[0].model_name == MODEL
        with pytest.raises(tinker.AuthenticationError):
            tinker.RestClient(base_url=tinker_server.url, api_key=made).get_server_capabilities().result()
    finally:
        tinker_server.keyring._token_secret = before


def test_a_key_revoked_under_the_sdk_is_told_at_once(tinker_server: Any) -> None:
    key = tinker_server.add_key("emil")
    rest = tinker.RestClient(base_url=tinker_server.url, api_key=key)
    rest.get_server_capabilities().result()
    holder = asyncio.run_coroutine_threadsafe(tinker_server.keyring.check(key), tinker_server.loop).result()
    asyncio.run_coroutine_threadsafe(tinker_server.keyring.revoke(holder.key_id), tinker_server.loop).result()
    start = time.monotonic()
    with pytest.raises(tinker.AuthenticationError):
        rest.get_server_capabilities().result()
    assert time.monotonic() - start < 5
