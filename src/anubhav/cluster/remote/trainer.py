"""The Trainer port over a host elsewhere. It knows which adapters are there, and says so when they went with a host."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anubhav.cluster.remote.parcels import pack, unpack
from anubhav.cluster.remote.post import Post
from anubhav.types.distilling import Distillation, Distilled
from anubhav.types.ids import AdapterId
from anubhav.types.training import LoraSpec, OptimParams, Pass, PassResult


class RemoteTrainer:
    def __init__(self, post: Post) -> None:
        self._post = post
        self._terms: dict[AdapterId, int] = {}
        """The term of the host that holds it, or held it."""

    async def create(self, adapter: AdapterId, spec: LoraSpec) -> None:
        await self._bring(adapter, "create", adapter, spec)

    async def run(self, passes: Sequence[Pass], *, tenant: str = "") -> Sequence[PassResult]:
        adapters = {work.adapter for work in passes}
        return await self._ask(adapters, "run", tuple(passes), tenant)

    async def step(self, adapter: AdapterId, params: OptimParams) -> Mapping[str, float]:
        return await self._ask({adapter}, "step", adapter, params)

    async def save(self, adapter: AdapterId, to: Path, *, optimizer: bool) -> None:
        unpack(await self._ask({adapter}, "save", adapter, optimizer), to)

    async def load(self, adapter: AdapterId, source: Path, *, optimizer: bool) -> None:
        await self._bring(adapter, "load", adapter, pack(source), optimizer)

    async def blend(self, adapter: AdapterId, parts: Sequence[tuple[Path, float]]) -> None:
        await self._bring(adapter, "blend", adapter, [(pack(folder), share) for folder, share in parts])

    async def distil(
        self, adapter: AdapterId, work: Distillation, reference: Path | None, *, tenant: str = ""
    ) -> Distilled:
        return await self._ask({adapter}, "distil", adapter, work, reference and pack(reference), tenant)

    async def drop(self, adapter: AdapterId) -> None:
        self._terms.pop(adapter, None)
        await self._post.call("drop", adapter)

    async def _bring(self, adapter: AdapterId, method: str, *words: Any) -> None:
        await self._post.open()
        term = self._post.term
        await self._post.call(method, *words, term=term)
        self._terms[adapter] = term

    async def _ask(self, adapters: set[AdapterId], method: str, *words: Any) -> Any:
        """Raises Lost for an adapter that was held by a host that is gone."""
        terms = {self._terms[adapter] for adapter in adapters if adapter in self._terms}
        for term in terms:
            if term != self._post.term:
                return await self._post.call(method, *words, term=term)
        return await self._post.call(method, *words, term=self._post.term if terms else None)
