"""Routes of the Anubhav API. Feedback is everybody's on their own replies; the rest is the operator's."""

from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request

from anubhav.episodes.recorder import Given
from anubhav.errors import NotAllowed, NotFound
from anubhav.flows.house import House
from anubhav.flows.react import react
from anubhav.http.anubhav import answers, bodies
from anubhav.http.auth import Keyring, needs, principal
from anubhav.types.models import SCOPES, Principal
from anubhav.types.quotas import Quota

router = APIRouter()
Json = dict[str, Any]
Limit = Annotated[int, Query(ge=1, le=500)]


async def house_of(request: Request) -> House:
    return request.app.state.house


async def keyring_of(request: Request) -> Keyring:
    return request.app.state.keyring


async def operator(who: Principal = Depends(principal), _: None = Depends(needs("admin"))) -> Principal:
    if not who.operator:
        raise NotAllowed("This is the operator's to do", hint="Use the key that `anubhav serve` printed.")
    return who


@router.get("/healthz")
@router.get("/health")
async def healthz(house: House = Depends(house_of)) -> Json:
    return {"status": "ok", "models": list(house.models)}


@router.get("/v1/cluster", dependencies=[Depends(operator)])
async def cluster_status(house: House = Depends(house_of)) -> Json:
    """Where trainers and samplers are, and whether they answer; in a cluster also its `nodes`, and what has room."""
    posts, nodes = await house.grounds.posts(), await house.grounds.nodes()
    return {"data": [dict(row) for row in posts], "nodes": [dict(row) for row in nodes]}


@router.post("/v1/cluster/nodes/{node}/drain", dependencies=[Depends(operator)])
async def drain_node(node: bodies.Name, house: House = Depends(house_of)) -> Json:
    """Moves away what stands there, and answers when the node may be taken away; 503 without room elsewhere."""
    return dict(await house.grounds.drain(node))


@router.delete("/v1/cluster/nodes/{node}/drain", dependencies=[Depends(operator)])
async def undrain_node(node: bodies.Name, house: House = Depends(house_of)) -> Json:
    return dict(await house.grounds.undrain(node))


@router.post("/v1/feedback", dependencies=[Depends(needs("sample"))])
async def give_feedback(
    body: bodies.Feedback | bodies.FeedbackBatch,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json | list[Json]:
    """One judgement, or up to 1000 of which all are kept or none."""
    given = [Given(**one.model_dump()) for one in (body if isinstance(body, list) else [body])]
    receipts: list[Json] = [msgspec.to_builtins(receipt) for receipt in await react(house, who.tenant, given)]
    return receipts if isinstance(body, list) else receipts[0]


@router.get("/v1/episodes", dependencies=[Depends(needs("read"))])
async def list_episodes(
    limit: Limit = 20, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    found = await house.recorder.recent(limit, None if who.operator else who.tenant)
    return {"data": [answers.episode_json(episode, feedback) for episode, feedback in found]}


@router.post("/v1/keys")
async def make_key(
    body: bodies.Key, keyring: Keyring = Depends(keyring_of), who: Principal = Depends(operator)
) -> Json:
    """The key is shown this once."""
    scopes = SCOPES if body.scopes is None else frozenset(body.scopes)
    quota = body.quota and Quota(**body.quota.model_dump())
    key = await keyring.add(
        body.tenant, body.note, operator=body.operator, prefix=body.prefix, scopes=scopes, quota=quota, by=who
    )
    return {"tenant": body.tenant, "key": key}


@router.get("/v1/keys", dependencies=[Depends(operator)])
async def list_keys(
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    before: Annotated[int | None, Query(ge=1, le=1 << 62)] = None,
    keyring: Keyring = Depends(keyring_of),
) -> Json:
    """Made last first; never the keys themselves, which nobody has but their holders. `next`, sent as `before`, gives
    those that are older."""
    found = await keyring.keys(before, limit)
    return {"data": [asdict(key) for key in found], "next": found[-1].seq if len(found) == limit else None}


@router.delete("/v1/keys/{key_id}")
async def revoke_key(key_id: str, keyring: Keyring = Depends(keyring_of), who: Principal = Depends(operator)) -> Json:
    await keyring.revoke(key_id, who)
    return {"id": key_id, "revoked": True}


@router.get("/v1/quotas/{tenant:path}", dependencies=[Depends(operator)])
async def get_quota(tenant: bodies.Name, keyring: Keyring = Depends(keyring_of)) -> Json:
    """What a tenant may use, null being no limit, and what it uses now."""
    quota, use = await keyring.quota(tenant)
    return {"tenant": tenant, "quota": asdict(quota), "used": asdict(use)}


@router.put("/v1/quotas/{tenant:path}")
async def set_quota(
    tenant: bodies.Name,
    body: bodies.Quota,
    keyring: Keyring = Depends(keyring_of),
    who: Principal = Depends(operator),
) -> Json:
    """The whole quota: what is left out has no limit."""
    await keyring.set_quota(tenant, Quota(**body.model_dump()), who)
    return await get_quota(tenant, keyring)


async def live(house: House) -> list[Any]:
    """What each alias answers with now."""
    found = [await house.register.current(alias) for alias in await house.register.aliases()]
    return [release for release in found if release]


async def known_alias(house: House, alias: str) -> None:
    """Raises NotFound, naming those there are."""
    names = [name for name in await house.voices.names() if name not in house.models]
    if alias not in names:
        raise NotFound(f"There is no alias {alias[:100]!r}", hint=f"Use one of: {', '.join(names)}.")
