"""The embedded model: it counts its own tokens, writes summaries and answers exams. Opened where it is first needed."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from anubhav.memory.surprise import Surprised
from anubhav.rendering.renderer import Renderer
from anubhav.settings import default_models_dir
from anubhav.types.chat import Message
from anubhav.types.sampling import SampleRequest, SamplingParams
from benchmarks.stand.model import NAME
from benchmarks.stand.processes import note

if TYPE_CHECKING:
    from anubhav.backends.torch.engine import TorchEngine


class Voice:
    usual = NAME

    def __init__(self, model: str = NAME) -> None:
        self._model = model
        self._opened: list[TorchEngine] = []

    def close(self) -> None:
        for engine in self._opened:
            engine.close()

    def count(self, text: str) -> int:
        return len(self.renderer.encode(text))

    async def say(self, messages: Sequence[Message], *, tokens: int) -> str:
        """The likeliest reply, of so many tokens at most."""
        params = SamplingParams(tokens, temperature=0.0, stop_tokens=self.renderer.stop_tokens)
        said: list[int] = []
        async for event in self._engine.sampler.sample(SampleRequest(self.renderer.render(messages), params)):
            said += event.tokens
        return self.renderer.decode(said).strip()

    @property
    def weigh(self) -> Surprised:
        return Surprised(self._engine.reader, self.renderer)

    @cached_property
    def renderer(self) -> Renderer:
        return Renderer(self._folder)

    @cached_property
    def _folder(self) -> Path:
        # Most policies need no model, and are measured without waiting for torch.
        from anubhav.app import pull_model

        return pull_model(self._model, default_models_dir(), note).folder

    @cached_property
    def _engine(self) -> "TorchEngine":
        from anubhav.backends.torch.engine import TorchEngine

        engine = TorchEngine(self._folder)
        self._opened.append(engine)
        return engine
