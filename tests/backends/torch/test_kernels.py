"""The native kernels of decoding against plain torch: what they may change is rounding."""

import random
from collections.abc import Iterator

import pytest
import torch

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.kernels import native
from anubhav.backends.torch.layers.adapters import fresh_adapter
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import add
from anubhav.backends.torch.sampling import draw
from anubhav.backends.torch.sampling.draw import speak
from anubhav.backends.torch.sampling.kv import KvCache, Part
from anubhav.backends.torch.sampling.pages import PAGE
from anubhav.backends.torch.sampling.speakers import Speaker, Speakers
from anubhav.types.sampling import SamplingParams
from anubhav.types.training import LoraSpec

CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])

pytestmark = pytest.mark.skipif(native.library() is None, reason="no C compiler here")


@pytest.fixture
def config(engine: TorchEngine) -> Iterator[ModelConfig]:
    yield engine.model.config


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    room = 2e-5 if one.dtype == torch.float32 else 3e-2
    torch.testing.assert_close(one, other, atol=room, rtol=room)


class Twins:
    """A cache with the kernel and one without, which hold the same; what nobody wrote is not a number."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype) -> None:
        self.config, self.dtype = config, dtype
        self.caches = KvCache(config, CPU, dtype, 64), KvCache(config, CPU, dtype, 64)
        for cache in self.caches:
            cache._k_LPGDS.fill_(float("nan"))
            cache._v_LPGSD.fill_(float("nan"))
        assert self.caches[0]._native is not None
        self.caches[1]._native = None

    def attend(self, parts: list[Part]) -> None:
        """A step of both, in all layers."""
        count, heads, groups = sum(part.count for part in parts), self.config.heads, self.config.kv_heads
        # As they come out of the fused projection: rows that lie apart.
        fused = torch.randn(count, heads + 2 * groups, self.config.head_dim).to(self.dtype)
        q, k, v = fused.split([heads, groups, groups], 1)
        for layer in range(self.config.layers):
            found: list[torch.Tensor] = []
            for cache in self.caches:
                cache.begin(parts)
                found.append(cache.attend(layer, q, k, v))
            assert found[0].isfinite().all()
            close(*found)


@BOTH
def test_attention(config: ModelConfig, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    twins = Twins(config, dtype)
    pages = list(range(64))
    random.Random(0).shuffle(pages)
    grown = [(pages[:3], PAGE + 5), (pages[3:4], 0), (pages[4:9], 4 * PAGE), (pages[9:10], 1)]
    twins.attend([Part(strand, 0, length) for strand, length in grown if length])
    for step in range(PAGE + 2):
        places = [(strand, length + step) for strand, length in grown]
        twins.attend([Part(strand, at, 1) for strand, at in places if at < len(strand) * PAGE])


@BOTH
def test_drawing(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits_BV = (torch.randn(40, 1003) * 3).to(dtype)
    params = [SamplingParams(1, temperature=(0.0, 0.5, 1.0, 1.7)[row % 4]) for row in range(40)]
    steps = [(7, row, 3) for row in range(40)]
    drawn = speak(logits_BV, params, steps)
    logprobs_BV = draw.scale(logits_BV, params)
    plain_B = draw.draw(logprobs_BV, params, [draw.uniform(*step) for step in steps])
    assert [token for token, _ in drawn] == plain_B.tolist()
    expected = logprobs_BV.gather(1, plain_B[:, None])[:, 0].tolist()
    assert [logprob for _, logprob in drawn] == pytest.approx(expected, abs=1e-5)


@BOTH
@pytest.mark.parametrize("rows", [1, 7, 30])
def test_many_adapters_in_one_pass(config: ModelConfig, dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(0)
    specs = [
        LoraSpec(rank=4, seed=1, train_unembed=False),
        LoraSpec(rank=16, seed=2, train_mlp=False, train_unembed=False),
        LoraSpec(rank=1, seed=3, train_unembed=False),
    ]
    crew: list[Speaker | None] = [None]
    for spec in specs:
        adapter = fresh_adapter(config, spec, CPU)
        with torch.no_grad():
            for pair in adapter.pairs.values():
                pair.b_OR.normal_()
                if pair.blocks_OR is not None:
                    pair.b_OR.mul_(pair.blocks_OR)
        crew.append(Speaker(config, adapter))
    speakers = Speakers(config, [crew[(3 * row) % 4] for row in range(rows)], CPU)
    for site, inputs, outputs in (
        ((0, "qkv"), config.hidden, config.q_width + 2 * config.kv_width),
        ((1, "gate_up"), config.hidden, 2 * config.intermediate),
        ((1, "down"), config.intermediate, config.hidden),
    ):
        x_TI, y_TO = torch.randn(rows, inputs), torch.randn(rows, outputs)
        plain_TO, kernel_TO = y_TO.clone(), y_TO.to(dtype)
        with torch.no_grad():
            add(list(speakers), site, x_TI.to(dtype).float(), plain_TO)
            speakers.add(site, x_TI.to(dtype), kernel_TO)
        room = 1e-4 if dtype == torch.float32 else 5e-2
        torch.testing.assert_close(kernel_TO.float(), plain_TO, atol=room, rtol=room)


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_few_rows(rows: int) -> None:
    torch.manual_seed(0)
    weight_OI, bias_O = torch.randn(53, 96).bfloat16().float(), torch.randn(53)
    layer, x_TI = FrozenLinear(weight_OI, bias_O), torch.randn(rows, 96)
    assert layer.read_once is not None
    with torch.no_grad():
        torch.testing.assert_close(layer(x_TI), x_TI @ weight_OI.t() + bias_O, atol=1e-4, rtol=1e-5)
