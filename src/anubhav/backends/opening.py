"""Which backend fills the ports for a model folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from anubhav.ports import Reader, Sampler, Trainer


class Engine(Protocol):
    """What fills the ports for one base model."""

    @property
    def trainer(self) -> Trainer: ...
    @property
    def sampler(self) -> Sampler: ...
    @property
    def reader(self) -> Reader: ...
    async def look(self) -> Sequence[Mapping[str, Any]]:
        """Each place that something of it runs in: `post`, `alive` and what else there is to say."""
        ...

    def close(self) -> None: ...


def open_engine(folder: Path, dtype: str | None, sampler: Literal["own", "vllm"] = "own") -> Engine:
    """Loads the weights, in this process and, where vLLM samples, in its own. Raises what keeps a model closed."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["architectures"] == ["AnubhavFake"]:  # a test double that learns in a table, not a model
        from anubhav.backends.fake.engine import FakeEngine

        return FakeEngine(folder)
    from anubhav.backends.torch.engine import TorchEngine

    if sampler == "vllm":
        from anubhav.backends.vllm.engine import VllmEngine

        return VllmEngine(folder, dtype, lambda: TorchEngine(folder, dtype=dtype))
    return TorchEngine(folder, dtype=dtype)
