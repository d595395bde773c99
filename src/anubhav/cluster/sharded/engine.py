"""One base model that a gang of this machine's processes trains, beside an engine that samples and reads."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from anubhav.backends.opening import Engine
from anubhav.backends.torch.models.families import read_config
from anubhav.cluster.sharded.designs import Design, plan_for
from anubhav.cluster.sharded.layout import check_room
from anubhav.cluster.sharded.trainer import ShardedTrainer
from anubhav.ports import Reader, Sampler


class ShardedEngine:
    def __init__(self, folder: Path, dtype: str | None, design: Design, open_other: Callable[[], Engine]) -> None:
        """The gang first: what keeps it from starting is told before weights are loaded here.

        Raises BadInput for a layout that does not fit the model or this machine, with the nearest that does.
        """
        cards = torch.cuda.device_count()
        device, room = ("cuda", cards) if cards else ("cpu", os.cpu_count() or 1)
        threads = max(1, room // design.layout.ranks)
        plan = plan_for(design, folder, dtype, device=device, threads=threads)
        here = f"this machine has {room} {'cards' if cards else 'processors'}"
        check_room(design.layout, read_config(folder), room, here)
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
