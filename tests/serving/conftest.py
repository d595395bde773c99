"""The serving room over the fake backend, with a training desk that makes adapters for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_model import write_model
from school import ask, teach

from anubhav.backends.fake.sampler import FakeSampler
from anubhav.backends.fake.trainer import FakeTrainer
from anubhav.rendering.renderer import Renderer
from anubhav.serving.sessions import SamplingSessions
from anubhav.serving.voices import Voices
from anubhav.store.database import Database
from anubhav.training.desk import Desk
from anubhav.training.limits import Limits
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.ids import AdapterId
from anubhav.types.models import Model
from anubhav.types.sampling import SampleRequest, SamplingParams

VOCAB, CONTEXT = 258, 512


class Stage:
    def __init__(self, folder: Path, database: Database) -> None:
        model = Model("tiny", folder / "tiny", "none", "folder", CONTEXT, VOCAB)
        self.database = database
        self.renderer = Renderer(model.folder)
        self.sampler = FakeSampler(VOCAB, CONTEXT)
        self.desk = Desk(database, {"tiny": FakeTrainer(VOCAB)}, folder, Limits({"tiny": model}))
        self.voices = Voices(database, {"tiny": self.sampler}, self.desk.checkpoints)
        self.sessions = SamplingSessions(database, self.voices, {"tiny": model}, {"tiny": self.renderer})

    async def teach(self, question: str, answer: str, tenant: str = "ada") -> Checkpoint:
        return await teach(self.desk, self.renderer, tenant, question, answer)

    def request(self, question: str, adapter: AdapterId | None = None, n: int = 1, tokens: int = 40) -> SampleRequest:
        """Greedy when one sample is wanted, seeded when more are."""
        params = SamplingParams(tokens, float(n > 1), seed=7, stop_tokens=self.renderer.stop_tokens)
        return SampleRequest(self.renderer.render(ask(question)), params, adapter, n)


@pytest.fixture
async def stage(tmp_path: Path, database: Database) -> AsyncIterator[Stage]:
    write_model(tmp_path / "tiny")
    stage = Stage(tmp_path, database)
    yield stage
    await stage.sessions.stop()
    await stage.desk.stop()
