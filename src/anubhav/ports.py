"""The seams of the house: whoever fills them can stand behind every face (tests/contracts says when it does).

Tensors never cross a port. Everything is addressed by adapter, so mixing tenants in one batch is the backend's right.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from anubhav.types.arrays import Array
from anubhav.types.distilling import Distillation, Distilled
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import Sampled, SampleRequest
from anubhav.types.tracking import Track, TrackRow
from anubhav.types.training import LoraSpec, OptimParams, Pass, PassResult


class Trainer(Protocol):
    async def create(self, adapter: AdapterId, spec: LoraSpec) -> None:
        """A fresh adapter with zero effect. Creating one that exists starts it anew."""
        ...

    async def run(self, passes: Sequence[Pass], *, tenant: str = "") -> Sequence[PassResult]:
        """Any mix of adapters, in order, in the tenant's turns.

        A failed pass carries its `failure`; its adapter's gradient stays.
        """
        ...

    async def step(self, adapter: AdapterId, params: OptimParams) -> Mapping[str, float]:
        """Apply and clear the summed gradient. Raises BadInput, dropping the gradient, if it is not finite."""
        ...

    async def save(self, adapter: AdapterId, to: Path, *, optimizer: bool) -> None:
        """Write PEFT's adapter_model.safetensors and adapter_config.json, and the optimizer if asked, into `to`."""
        ...

    async def load(self, adapter: AdapterId, source: Path, *, optimizer: bool) -> None:
        """Make `adapter` what lies in `source`, its gradient empty, with the saved optimizer or a fresh one."""
        ...

    async def blend(self, adapter: AdapterId, parts: Sequence[tuple[Path, float]]) -> None:
        """Make `adapter` the exact sum of what saved adapters add, each times its number. Its rank is their sum."""
        ...

    async def distil(
        self, adapter: AdapterId, work: Distillation, reference: Path | None, *, tenant: str = ""
    ) -> Distilled:
        """Add to the gradient of `adapter` that of the reverse KL from a saved adapter, or, None, from the base model.

        Raises BadInput, and adds nothing, when a loss is not finite.
        """
        ...

    async def drop(self, adapter: AdapterId) -> None:
        """Forget it. Unknown adapters are no error."""
        ...


class Sampler(Protocol):
    def sample(self, request: SampleRequest) -> AsyncGenerator[Sampled]:
        """Stream the samples as they grow. Closing the generator frees the slot within one decode step."""
        ...

    async def attach(self, adapter: AdapterId, source: Path) -> None:
        """Make the saved adapter in folder `source` ready to sample from. Attaching twice is no error."""
        ...

    async def detach(self, adapter: AdapterId) -> None:
        """Forget it once no running sample uses it. Unknown adapters are no error."""
        ...


class Reader(Protocol):
    async def read(self, items: Sequence[tuple[Sequence[int], Sequence[int]]], *, tenant: str = "") -> list[Array]:
        """What the frozen base makes of each (prompt tokens, answer tokens): a float32 array of features each.

        Never an adapter's view, the same on every call, of one length per base model, and of order 1. Chats go first.
        Raises BadInput for tokens the model does not have and for an item without any.
        """
        ...

    async def surprise(
        self, items: Sequence[tuple[Sequence[int], Sequence[int]]], *, tenant: str = ""
    ) -> list[list[float]]:
        """The nats, -log p, of every answer token of each (prompt tokens, answer tokens), given all tokens before it.

        Of the frozen base. Chats go first. With no prompt the model's own first token stands there; where it has none,
        the answer's first token takes log |V|, as from a model that knows nothing. What is longer than the context is
        read in parts, each after the end of what was before. Raises BadInput as `read` does.
        """
        ...

    async def attend(
        self, prompt: Sequence[int], spans: Sequence[tuple[int, int]], last: int, *, tenant: str = ""
    ) -> list[float]:
        """The share of the attention of the last `last` tokens that each half-open span of earlier positions has.

        The mean over layers that attend, heads and those tokens, of the frozen base. Chats go first. Raises BadInput
        for tokens the model does not have, a prompt beyond its context and a span that is not before the last tokens.
        """
        ...


class Tracker(Protocol):
    """Shows somebody what was measured. Called from one thread of its own, which may block; whatever it raises is
    logged and hurts nothing."""

    name: str

    def log(self, track: Track, rows: Sequence[TrackRow]) -> None:
        """In order. The first rows of a track begin it there, also after a restart, where it goes on."""
        ...

    def end(self, track: str) -> None:
        """Nothing more comes of it, for now; one that was never begun changes nothing."""
        ...
