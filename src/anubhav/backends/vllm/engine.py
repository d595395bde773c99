"""One base model that vLLM samples from, beside an engine of ours that trains and reads."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from anubhav.backends.vllm.launch import Options
from anubhav.backends.vllm.sampler import VllmSampler
from anubhav.ports import Reader, Sampler, Trainer


class Own(Protocol):
    """What is needed of the engine beside it."""

    @property
    def trainer(self) -> Trainer: ...
    @property
    def reader(self) -> Reader: ...
    async def look(self) -> Sequence[Mapping[str, Any]]: ...

    def close(self) -> None: ...


class VllmEngine:
    def __init__(self, folder: Path, dtype: str | None, open_own: Callable[[], Own]) -> None:
        """The server first: what keeps it from starting is told before our own weights are loaded."""
        self._name = folder.name
        self._vllm = VllmSampler(folder, Options(dtype=dtype))
        try:
            self._own = open_own()
        except BaseException:
            self._vllm.close()
            raise

    @property
    def trainer(self) -> Trainer:
        return self._own.trainer

    @property
    def reader(self) -> Reader:
        return self._own.reader

    @property
    def sampler(self) -> Sampler:
        return self._vllm

    async def look(self) -> Sequence[Mapping[str, Any]]:
        server = self._vllm.server
        return [*await self._own.look(), {"post": f"{self._name} vllm", "term": server.starts, "alive": server.alive}]

    def close(self) -> None:
        self._vllm.close()
        self._own.close()
