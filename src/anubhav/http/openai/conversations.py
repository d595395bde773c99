"""Routes of OpenAI's Conversations API. What a response is asked and says in one is in it, and goes with it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.entrance import house_of
from anubhav.http.openai.echoes import entries_of, item_of
from anubhav.http.openai.items import Item, Lenient, read_each
from anubhav.types.chat import Message
from anubhav.types.models import Principal
from anubhav.types.talks import Entry, Talk

router = APIRouter(prefix="/conversations", dependencies=[Depends(needs("sample", "read"))])
Json = dict[str, Any]
Key = Annotated[str, StringConstraints(max_length=64)]
Value = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[Key, Value], Field(max_length=16)]
Items = Annotated[list[Item], Field(max_length=20)]
_SPEAKS = [Depends(needs("sample"))]


class Create(Lenient):
    metadata: Metadata | None = None
    items: Items | None = None


class Update(Lenient):
    metadata: Metadata | None = None


class Add(Lenient):
    items: Items


@router.post("", dependencies=_SPEAKS)
async def create_conversation(
    body: Create, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    entries = entries_of(_read(body.items or []))
    return talk_json(await house.talks.begin(who.tenant, body.metadata or {}, entries))


@router.get("/{name}")
async def get_conversation(name: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return talk_json(await house.talks.find(who.tenant, name))


@router.post("/{name}", dependencies=_SPEAKS)
async def update_conversation(
    name: str, body: Update, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    return talk_json(await house.talks.describe(who.tenant, name, body.metadata or {}))


@router.delete("/{name}", dependencies=_SPEAKS)
async def delete_conversation(name: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """With its items. The responses given in it stay until they are deleted themselves."""
    await house.talks.drop(who.tenant, name)
    return {"id": name, "object": "conversation.deleted", "deleted": True}


@router.get("/{name}/items")
async def list_items(
    name: str,
    after: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    found, more = await house.talks.page(who.tenant, name, after, limit, newest_first=order == "desc")
    return list_json(found, more=more)


@router.post("/{name}/items", dependencies=_SPEAKS)
async def create_items(
    name: str, body: Add, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    return list_json(await house.talks.add(who.tenant, name, entries_of(_read(body.items))), more=False)


@router.get("/{name}/items/{item}")
async def get_item(name: str, item: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return entry_json(await house.talks.entry(who.tenant, name, item))


@router.delete("/{name}/items/{item}", dependencies=_SPEAKS)
async def delete_item(
    name: str, item: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    """Answers with the conversation, as OpenAI's does."""
    return talk_json(await house.talks.drop_entry(who.tenant, name, item))


def talk_json(talk: Talk) -> Json:
    return {
        "id": talk.id,
        "object": "conversation",
        "created_at": int(talk.created_at),
        "metadata": dict(talk.metadata),
    }


def entry_json(entry: Entry) -> Json:
    return item_of(entry.id, entry.message)


def list_json(entries: Sequence[Entry], *, more: bool) -> Json:
    data = [entry_json(one) for one in entries]
    first, last = (data[0]["id"], data[-1]["id"]) if data else ("", "")
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


def _read(items: Sequence[Item]) -> list[Message]:
    """Raises BadInput for a kind of item that no model here can read: it would be kept as nothing."""
    found = read_each(items)
    if len(found) < len(items):
        raise BadInput(
            "An item is of a kind that is not kept here",
            hint="Send messages, function calls, their outputs, and thoughts with text.",
        )
    if any(message.images for message in found):
        raise BadInput("Images are not kept in conversations", hint="Send the words alone.")
    return found
