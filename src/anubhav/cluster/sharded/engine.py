"""One base model that a gang of this machine's processes trains, beside an engine that samples and reads."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anubhav.backends.opening import Engine
from anubhav.cluster.sharded.designs import Design, check_machine, plan_for
from anubhav.cluster.sharded.trainer import ShardedTrainer
from anubhav.ports import Reader, Sampler


class ShardedEngine:
    def __init__(self, folder: Path, dtype: str | None, design: Design, open_other: Callable[[], Engine]) -> None:
        """The gang first: what keeps it from starting is told before weights are loaded here.

        Raises BadInput for a layout that does not fit the model or this machine, with the nearest that does.
        """
        device, room = check_machine(design, folder)
        threads = max(1, room // design.layout.ranks)
        plan = plan_for(design, folder, dtype, device=device, threads=threads)
        self.trainer = ShardedTrainer(plan)
        try:
            self._other = open_other()
        except BaseException:
            self.trainer.close()
            raise

    @property
    def sampler(self) -> Sampler:
        return self._other.sampler

    @property
    def reader(self) -> Reader:
        return self._other.reader

    async def look(self) -> Sequence[Mapping[str, Any]]:
        return [*await self._other.look(), *await self.trainer.look()]

    def close(self) -> None:
        self.trainer.close()
        self._other.close()
