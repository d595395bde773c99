"""Whoever fills the ports must pass these tests; each filler stands here once."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from fillers import CONTEXT, VOCAB, Filler
from transformers import LlamaConfig, LlamaForCausalLM

from anubhav.backends.fake.sampler import FakeSampler
from anubhav.backends.fake.trainer import FakeTrainer
from anubhav.backends.torch.engine import TorchEngine
from anubhav.ports import Sampler, Trainer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract-llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["fake", "torch"])
def filler(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[Filler]:
    if request.param == "fake":
        sampler = FakeSampler(VOCAB, CONTEXT)
        yield Filler(FakeTrainer(VOCAB), sampler, lambda: sampler.running > 0)
    else:
        with closing(TorchEngine(tiny_model)) as engine:
            yield Filler(engine.trainer, engine.sampler, lambda: engine.sampling.busy)


@pytest.fixture
def trainer(filler: Filler) -> Trainer:
    return filler.trainer


@pytest.fixture
def sampler(filler: Filler) -> Sampler:
    return filler.sampler
