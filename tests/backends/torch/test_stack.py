"""A few rows through all layers in one call, against the plain path: what it may change is rounding."""

from pathlib import Path

import pytest
import torch
from processors import takes_bfloat16
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from anubhav.backends.torch.kernels import native
from anubhav.backends.torch.layers.adapters import fresh_adapter
from anubhav.backends.torch.layers.frozen import FEW
from anubhav.backends.torch.models.model import Model
from anubhav.backends.torch.sampling.kv import KvCache, Part
from anubhav.backends.torch.sampling.speakers import Speaker, Speakers
from anubhav.backends.torch.sampling.stack import find_stack
from anubhav.types.training import LoraSpec

CPU = torch.device("cpu")
SHAPE = {
    "vocab_size": 64, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 128, "tie_word_embeddings": True,
}  # fmt: skip
FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
PAGES = ([3, 9], [4], [7], [11, 12])
STARTS = (17, 5, 0, 20)

pytestmark = pytest.mark.skipif(native.library() is None, reason="no C compiler here")


def written(family: str, folder: Path) -> Path:
    """Weights that are bfloat16, as checkpoints have them."""
    torch.manual_seed(0)
    config, kind = FAMILIES[family]
    net = kind(config(**SHAPE))
    for one in net.parameters():
        one.data = (one.data + 0.05 * torch.randn_like(one)).bfloat16().float()
    net.save_pretrained(folder)
    return folder


def speaker(model: Model, rank: int) -> Speaker:
    adapter = fresh_adapter(model.config, LoraSpec(rank=rank, seed=rank), CPU)
    for pair in adapter.pairs.values():
        pair.b_OR.data.normal_(0, 0.05).mul_(1 if pair.blocks_OR is None else pair.blocks_OR)
    return Speaker(model.config, adapter)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=takes_bfloat16)])
@pytest.mark.parametrize("adapters", [(None,) * 4, (4, 4, 4, 4), (4, None, 8, 4)])
def test_it_computes_what_the_plain_path_does(
    family: str, dtype: torch.dtype, adapters: tuple[int | None, ...], tmp_path: Path
) -> None:
    model = Model(written(family, tmp_path), device=CPU, dtype=dtype)
    speakers = {rank: speaker(model, rank) for rank in set(adapters) if rank}
    crew = Speakers(model.config, [speakers[rank] if rank else None for rank in adapters], CPU)
    ours, plain = KvCache(model.config, CPU, dtype, 16), KvCache(model.config, CPU, dtype, 16)
    for cache in (ours, plain):
        torch.manual_seed(1)
        cache._k_LPGDS.normal_()
        cache._v_LPGSD.normal_()
    stack = find_stack(model, ours)
    assert stack is not None
    assert stack.takes(4, crew)
    tokens_T, positions_T = torch.tensor([5, 6, 7, 8]), torch.tensor(STARTS)
    parts = [Part(pages, start, 1) for pages, start in zip(PAGES, STARTS, strict=True)]
    room = 2e-4 if dtype == torch.float32 else 8e-2
    with torch.no_grad():
        for _ in range(2):  # what the first wrote into the cache is read by the second
            ours.begin(parts)
            plain.begin(parts)
            wanted_TE = model.hidden(tokens_T, positions_T, crew, plain.attend)
            found_TE = stack.hidden(tokens_T, positions_T, crew)
            torch.testing.assert_close(found_TE.float(), wanted_TE.float(), atol=room, rtol=room)
            parts = [Part(part.pages, part.start + 1, 1) for part in parts]
            positions_T = positions_T + 1


def test_what_has_no_kernel_is_left_to_the_plain_path(tmp_path: Path) -> None:
    folder = written("llama", tmp_path)
    model = Model(folder, device=CPU, dtype=torch.float32)
    stack = find_stack(model, KvCache(model.config, CPU, torch.float32, 16))
    assert stack is not None
    many = FEW + 1
    assert not stack.takes(many, Speakers(model.config, [None] * many, CPU))
    torch.manual_seed(0)
    net = LlamaForCausalLM(LlamaConfig(**SHAPE))  # weights that are no bfloat16
    net.save_pretrained(folder)
    exact = Model(folder, device=CPU, dtype=torch.float32)
    assert find_stack(exact, KvCache(exact.config, CPU, torch.float32, 16)) is None
