"""A node is left before it is taken away: what stands there is put up elsewhere first, and nobody notices.

A host's successor is ready before the host goes, so it needs room beside it; a gang is ended between two calls and put
up anew. What finds no room is refused before anything is moved.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from anubhav.cluster.remote.engine import RemoteEngine
from anubhav.cluster.remote.nodes import SHORT
from anubhav.cluster.remote.room import check_room


async def drain(engines: Sequence[RemoteEngine], name: str) -> dict[str, Any]:
    """Have everything leave the node, and nothing come there. Raises Unavailable, with nothing moved, without room."""
    nodes = engines[0].nodes
    async with nodes.changing:  # two at a time would count on the same room
        spot = await asyncio.to_thread(nodes.find, name)
        needs = [need for engine in engines for need in await engine.needs(spot.id)]
        spots = await asyncio.to_thread(nodes.now)
        check_room(spot, needs, [other for other in spots if other.id != spot.id and nodes.allowed(other.id)])
        nodes.leave(spot.id)
        try:
            for engine in engines:
                await engine.leave(spot.id)
        except BaseException:
            nodes.stay(spot.id)
            raise
    return {"node_id": spot.id[:SHORT], "node": spot.name, "moved": [need.post for need in needs]}


async def undrain(engines: Sequence[RemoteEngine], name: str) -> dict[str, Any]:
    """Posts may be put there again."""
    spot = await asyncio.to_thread(engines[0].nodes.find, name)
    engines[0].nodes.stay(spot.id)
    return {"node_id": spot.id[:SHORT], "node": spot.name}


async def survey(engines: Sequence[RemoteEngine]) -> list[dict[str, Any]]:
    """Each node, what stands there, and how many more samplers would find room there."""
    nodes, wanted = engines[0].nodes, engines[0].wanted
    posts = Counter([node for engine in engines for node in await engine.standing()])
    return [
        {
            "node_id": spot.id[:SHORT],
            "node": spot.name,
            "address": spot.address,
            "processors": spot.processors,
            "cards": spot.cards,
            "free_processors": spot.free_processors,
            "free_cards": spot.free_cards,
            "posts": posts[spot.id],
            "draining": not nodes.allowed(spot.id),
            "room": spot.free_processors // wanted.processors if nodes.allowed(spot.id) else 0,
        }
        for spot in await asyncio.to_thread(nodes.now)
    ]
