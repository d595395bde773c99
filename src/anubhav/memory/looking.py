"""Looking: the features only the model can tell, for policies that weigh them; seconds a turn on a small CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anubhav.memory.attention import attention
from anubhav.memory.need import need
from anubhav.ports import Reader
from anubhav.rendering.renderer import Renderer
from anubhav.types.memory import Chunk, MemoryPolicy


@dataclass(frozen=True, slots=True)
class Looking:
    """A `scoring.Look`, by the frozen base of one model. What has no weight is not asked for."""

    reader: Reader
    renderer: Renderer
    policy: MemoryPolicy
    tenant: str = ""

    async def __call__(self, chunks: Sequence[Chunk]) -> Mapping[str, Mapping[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for name, ask in (("attention", attention), ("need", need)):
            if self.policy.weights.get(name):
                told = await ask(self.reader, self.renderer, chunks, tenant=self.tenant)
                for chunk, value in told.items():
                    found.setdefault(chunk, {})[name] = value
        return found
