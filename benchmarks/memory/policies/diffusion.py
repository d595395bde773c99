"""Memory Diffusion, by any policy of weights: the product's own keeper."""

from collections.abc import Sequence

from anubhav.memory.cut import Said
from anubhav.memory.keeper import Keeper
from anubhav.memory.scoring import Weigh
from anubhav.types.memory import Memory, MemoryPolicy
from benchmarks.memory.message import Count, Held, Message


class Diffusion:
    bounded, outside = True, False

    def __init__(self, policy: MemoryPolicy, budget: int, count: Count, weigh: Weigh | None = None) -> None:
        self._keeper, self._budget = Keeper(count, policy, weigh), budget
        self.memory = Memory()

    async def hear(self, message: Message) -> None:
        said = Said(message.role, message.named, message.at)
        self.memory, _ = await self._keeper.hear(self.memory, [said], self._budget)

    async def recall(self, question: str = "") -> Sequence[Held]:
        return [Held(chunk.role, chunk.text, chunk.turn) for chunk in self.memory.chunks]
