"""The base's own view of a text, its surprise and its attention, against transformers for every family."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import foreign_families
import pytest
import test_families
import torch
from test_sampling import prompt
from tiny_llama import write_llama
from transformers import AutoModelForCausalLM

from anubhav.backends.torch import precision
from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.models.model import Model
from anubhav.backends.torch.reading_attention import attend
from anubhav.backends.torch.reading_long import PART
from anubhav.backends.torch.reading_surprise import surprise

CPU = torch.device("cpu")
needs_bfloat16 = pytest.mark.skipif(not precision.has_bfloat16(), reason="this CPU computes in float32")


def reference(folder: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    for module in model.modules():  # latents are of no groups, by which eager attention would repeat them
        if getattr(module, "num_key_value_groups", 1) == 0:
            module.num_key_value_groups = 1
    return model


@torch.no_grad()
def their_surprise(model: Any, before: Sequence[int], answer: Sequence[int]) -> list[float]:
    tokens = torch.tensor([*before, *answer])
    logprobs = model(input_ids=tokens[None, :-1], use_cache=False).logits[0].log_softmax(-1)
    return (-logprobs.gather(-1, tokens[1:, None])[:, 0])[len(before) - 1 :].tolist()


@torch.no_grad()
def their_attention(model: Any, tokens: Sequence[int], spans: Sequence[tuple[int, int]], last: int) -> list[float]:
    out = model(input_ids=torch.tensor([tokens]), use_cache=False, output_attentions=True)
    shares_T = torch.stack([layer[0, :, -last:].mean((0, 1)) for layer in out.attentions]).mean(0)
    return [float(shares_T[start:end].sum()) for start, end in spans]


@pytest.fixture(scope="module", params=[*test_families.MAKERS, *(f"foreign {one}" for one in foreign_families.MAKERS)])
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TorchEngine, Any]]:
    folder = tmp_path_factory.mktemp("family")
    name = request.param.removeprefix("foreign ")
    (foreign_families.write_family if name != request.param else test_families.write)(name, folder)
    engine = TorchEngine(folder)
    yield engine, reference(folder)
    engine.close()


async def test_surprise_is_that_of_transformers(family: tuple[TorchEngine, Any]) -> None:
    engine, model = family
    items = [(prompt(1, 40), prompt(2, 30)), (prompt(1, 40), prompt(3, 5)), (prompt(4, 1), prompt(5, 90))]
    for (before, answer), nats in zip(items, await engine.reader.surprise(items), strict=True):
        assert nats == pytest.approx(their_surprise(model, before, answer), abs=1e-4)


async def test_attention_is_that_of_transformers(family: tuple[TorchEngine, Any]) -> None:
    engine, model = family
    tokens, spans = prompt(6, 70), [(0, 1), (1, 30), (30, 55), (50, 63)]
    for last in (1, 7):
        shares = await engine.reader.attend(tokens, spans, last)
        assert shares == pytest.approx(their_attention(model, tokens, spans, last), abs=1e-4)


@pytest.fixture(scope="module", params=["llama", "mistral"])
def longer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With room for a text of several parts; of Mistral each token sees a window."""
    folder = tmp_path_factory.mktemp("longer")
    test_families.write(request.param, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1400}))
    return folder


async def test_long_texts_are_read_in_parts_as_in_one(longer: Path) -> None:
    engine, model = TorchEngine(longer), reference(longer)
    before, answer = prompt(1, 700), prompt(2, 2 * PART + 100 - 700)
    nats, short = await engine.reader.surprise([(before, answer), (before[:5], answer[:5])])
    assert nats == pytest.approx(their_surprise(model, before, answer), abs=1e-4)
    assert short == pytest.approx(their_surprise(model, before[:5], answer[:5]), abs=1e-4)
    tokens, spans = (*before, *answer), [(0, 100), (100, 400), (450, 500)]
    for last in (3, 600):  # within the last part, and over all three
        shares = await engine.reader.attend(tokens, spans, last)
        assert shares == pytest.approx(their_attention(model, tokens, spans, last), abs=1e-4)
    engine.close()


async def test_attention_in_small_steps_is_the_same(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, spans = prompt(6, 200), [(0, 10), (10, 90)]
    whole = await engine.reader.attend(tokens, spans, 100)
    monkeypatch.setattr("anubhav.backends.torch.reading_attention._CELLS", 4000)
    assert await engine.reader.attend(tokens, spans, 100) == pytest.approx(whole, abs=1e-6)


async def test_beyond_the_context_each_part_follows_the_end_of_what_was_before(
    engine: TorchEngine, tiny_llama: Path
) -> None:
    model, room = reference(tiny_llama), engine.model.config.context
    before, answer = prompt(1, room), prompt(2, room)
    (nats,) = await engine.reader.surprise([(before, answer)])
    tokens, half = (*before, *answer), room // 2
    for at in (room, room + half):
        end = at + half
        expected = their_surprise(model, tokens[end - 1 - room : at], tokens[at:end])
        assert nats[at - room : end - room] == pytest.approx(expected, abs=1e-4)


async def test_a_text_begins_as_the_model_was_taught(tmp_path: Path) -> None:
    write_llama(tmp_path, vocab=300, context=64)
    config = json.loads((tmp_path / "config.json").read_text())
    for first in (7, None):
        (tmp_path / "config.json").write_text(json.dumps({**config, "bos_token_id": first}))
        engine = TorchEngine(tmp_path)
        (nats,), (more,) = [await engine.reader.surprise([item]) for item in (((), (5, 6)), ((7,), (5, 6)))]
        if first is None:
            assert nats[0] == pytest.approx(math.log(300))
            assert nats[1] == pytest.approx(their_surprise(reference(tmp_path), (5,), (6,))[0], abs=1e-4)
        else:
            assert nats == pytest.approx(more, abs=1e-5)
        engine.close()


@needs_bfloat16
async def test_in_bfloat16_both_views_are_close(tiny_llama: Path) -> None:
    found: list[tuple[list[float], list[float]]] = []
    for dtype in ("float32", "bfloat16"):
        engine = TorchEngine(tiny_llama, dtype=dtype)
        (nats,) = await engine.reader.surprise([(prompt(1, 40), prompt(2, 60))])
        found.append((nats, await engine.reader.attend(prompt(3, 100), [(0, 50), (50, 90)], 10)))
        engine.close()
    (nats, shares), (rough, rough_shares) = found
    assert rough == pytest.approx(nats, abs=0.1) and rough != nats
    assert rough_shares == pytest.approx(shares, abs=0.01)


def test_both_views_pause_between_layers_and_between_parts(longer: Path) -> None:
    model = Model(longer, device=CPU, dtype=torch.float32)
    calls: list[None] = []
    tokens = prompt(1, 2 * PART + 10)
    turns = sum(1 for _ in surprise(model, [(tokens[:9], tokens[9:])], None, lambda: calls.append(None)))
    # Between layers of each part, and between chunks of rows of the head.
    assert turns == 4 and len(calls) >= 3 * model.config.layers + math.ceil((len(tokens) - 9) / 256)
    calls.clear()
    assert sum(1 for _ in attend(model, tokens, [(0, 9)], 5, lambda: calls.append(None))) == 3
    assert len(calls) >= 3 * model.config.layers
