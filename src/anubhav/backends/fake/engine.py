"""The ports over a model folder whose config.json names the architecture AnubhavFake."""

import json
from pathlib import Path
from typing import Any

from anubhav.backends.fake.reading import FakeReader
from anubhav.backends.fake.sampler import FakeSampler
from anubhav.backends.fake.trainer import FakeTrainer

ARCHITECTURE = "AnubhavFake"


class FakeEngine:
    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        # A table's logits move slowly at a real model's rates; with a gain its recipes teach it in as many steps.
        gain = float(config.get("gain", 1.0))
        self.name = folder.name
        self.trainer = FakeTrainer(config["vocab_size"], gain)
        # With a pace it talks as slowly as some real model would, to measure what is around a model.
        pace = float(config.get("pace", 0.0))
        self.sampler = FakeSampler(config["vocab_size"], config["max_position_embeddings"], gain, folder, pace=pace)
        self.reader = FakeReader(config["vocab_size"])

    async def look(self) -> list[dict[str, Any]]:
        return [{"post": f"{self.name} here", "term": 1, "alive": True}]

    def close(self) -> None:
        """Nothing runs on its own here."""
