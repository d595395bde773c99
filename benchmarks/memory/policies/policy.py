"""What a policy is: it hears messages one by one, and tells which lines it would put before the model."""

from collections.abc import Sequence
from typing import Protocol

from benchmarks.memory.message import Held, Message


class Policy(Protocol):
    @property
    def bounded(self) -> bool:
        """It may hold no more than the budget in a prompt."""
        ...

    @property
    def outside(self) -> bool:
        """It keeps everything outside the budget and chooses when it sees the question: an advantage we grant."""
        ...

    async def hear(self, message: Message) -> None: ...

    async def recall(self, question: str = "") -> Sequence[Held]:
        """The lines for a prompt, in the order they were said. Only who is `outside` looks at the question."""
        ...
