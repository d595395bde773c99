"""The Sampler port over several hosts: a request goes where its beginning was read before, or to who has least to do.

A request's draws follow its seed alone, so one that is begun anew elsewhere says what it said before: when a host dies,
its streams go on at another one where they were cut off, and nobody who listens notices.
"""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ray import put

from anubhav.cluster.remote.hearing import Ear
from anubhav.cluster.remote.parcels import pack
from anubhav.cluster.remote.post import Post, ready
from anubhav.errors import Lost, NotFound, Unavailable
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import Sampled, SampleRequest

_TRIES = 4
_CROWDED = 8
"""More samples than the least busy host has: then a known beginning is read again there."""
_BEGINNING = 64
"""Tokens of a prompt that say where it was read before."""


class RemoteSampler:
    def __init__(self, posts: Sequence[Post]) -> None:
        self._posts = posts
        self._load: Counter[str] = Counter()
        self._parcels: dict[AdapterId, Any] = {}
        """References: the files are sent to a node once."""
        self._there: dict[tuple[str, AdapterId], int] = {}
        """The term of the host at that post which has the adapter."""
        self._attaching = asyncio.Lock()
        self._ears: dict[str, Ear] = {}
        """By post; those of hosts that are gone live as long as their streams."""

    async def attach(self, adapter: AdapterId, source: Path) -> None:
        if adapter not in self._parcels:
            self._parcels[adapter] = put(await asyncio.to_thread(pack, source))
        try:
            await self._bring(min(ready(self._posts), key=lambda post: self._load[post.name]), adapter)
        except Lost:
            pass  # the host that answers first has it brought
        except Exception:
            del self._parcels[adapter]
            raise

    async def detach(self, adapter: AdapterId) -> None:
        self._parcels.pop(adapter, None)
        for post in self._posts:
            if self._there.pop((post.name, adapter), None):
                post.tell("detach", adapter)

    async def sample(self, request: SampleRequest) -> AsyncGenerator[Sampled]:
        if request.adapter and request.adapter not in self._parcels:
            raise NotFound(f"The sampler has no adapter {request.adapter}", hint="Attach it first.")
        if request.params.seed is None:
            seed = int.from_bytes(os.urandom(7), "big")
            request = replace(request, params=replace(request.params, seed=seed))
        told = _Told()
        for _ in range(_TRIES):
            post = self._choose(request)
            told.again.clear()
            self._load[post.name] += request.n
            try:
                async with aclosing(self._stream(post, request)) as events:
                    async for event in events:
                        if fresh := told.new(event):
                            yield fresh
                return
            except Lost:
                continue
            finally:
                self._load[post.name] -= request.n
        raise Unavailable("No sampler could answer", hint="Repeat the request in a moment.")

    def _choose(self, request: SampleRequest) -> Post:
        posts = ready(self._posts)
        least = min(posts, key=lambda post: self._load[post.name])
        beginning = f"{request.adapter}:{request.tenant}:{request.prompt[:_BEGINNING]}"
        known = max(posts, key=lambda post: hashlib.blake2b(f"{post.name}:{beginning}".encode()).digest())
        return known if self._load[known.name] <= self._load[least.name] + _CROWDED else least

    async def _bring(self, post: Post, adapter: AdapterId) -> int:
        """The adapter to whoever stands there now, and the term of it."""
        await post.open()
        async with self._attaching:
            if not post.filled:  # waiting for the next would hold up all others
                raise Lost(f"{post.name} was lost", hint="Repeat the request in a moment.")
            term = post.term
            if self._there.get((post.name, adapter)) != term:
                if adapter not in self._parcels:
                    raise NotFound(f"The sampler has no adapter {adapter}", hint="Attach it first.")
                await post.call("attach", adapter, self._parcels[adapter], term=term)
                self._there[post.name, adapter] = term
            return term

    async def _stream(self, post: Post, request: SampleRequest) -> AsyncGenerator[Sampled]:
        await post.open()
        term = await self._bring(post, request.adapter) if request.adapter else post.term
        ear = self._ears.get(post.name)
        if ear is None or ear.term != term:
            ear = self._ears[post.name] = Ear(post, term)
        async with aclosing(ear.stream(request)) as events:
            async for event in events:
                yield event


@dataclass(slots=True)
class _Told:
    """What of a request was passed on already."""

    tokens: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    again: dict[int, int] = field(default_factory=dict[int, int])
    """How many of these a stream that was begun anew has said so far."""
    ended: set[int] = field(default_factory=set[int])
    began: bool = False

    def new(self, event: Sampled) -> Sampled | None:
        """The part of the event that nobody heard yet. Raises Unavailable when a stream says something else now."""
        said = self.tokens.setdefault(event.index, [])
        place = self.again.get(event.index, 0)
        known = said[place : place + len(event.tokens)]
        if tuple(known) != event.tokens[: len(known)]:
            raise Unavailable("The sampler was lost on the way", hint="Repeat the request.")
        self.again[event.index] = place + len(event.tokens)
        return self._rest(event, said, len(known))

    def _rest(self, event: Sampled, said: list[int], known: int) -> Sampled | None:
        over = event.index in self.ended
        if over or (known and known == len(event.tokens) and not event.stop_reason):
            return None
        said.extend(event.tokens[known:])
        if event.stop_reason:
            self.ended.add(event.index)
        prompt, self.began = None if self.began else event.prompt, True
        return replace(
            event,
            tokens=event.tokens[known:],
            logprobs=event.logprobs[known:],
            top=event.top[known:],
            prompt=prompt,
        )
