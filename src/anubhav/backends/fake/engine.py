"""Both ports over a model folder whose config.json names the architecture AnubhavFake."""

import json
from pathlib import Path

from anubhav.backends.fake.sampler import FakeSampler
from anubhav.backends.fake.trainer import FakeTrainer

ARCHITECTURE = "AnubhavFake"


class FakeEngine:
    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self.trainer = FakeTrainer(config["vocab_size"])
        self.sampler = FakeSampler(config["vocab_size"], config["max_position_embeddings"])

    def close(self) -> None:
        """Nothing runs on its own here."""
