"""Families that transformers computes, against transformers and PEFT, and what is refused instead."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_families
import torch
from foreign_families import MAKERS, REFUSED, write, write_family
from peft import LoraConfig, PeftModel, get_peft_model
from processors import takes_bfloat16
from replay import DATUM, RUN, logprobs_of
from test_peft_parity import some_data
from torch import Tensor
from transformers import AutoModelForCausalLM

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.gguf_adapter import write_gguf_adapter
from anubhav.backends.torch.files.merging import write_merged
from anubhav.backends.torch.files.peft_files import named_tensors, read_adapter, write_adapter
from anubhav.backends.torch.layers.adapters import Adapter, fresh_adapter, groups_of
from anubhav.backends.torch.layers.lora import Segment
from anubhav.backends.torch.models import foreign_trial
from anubhav.backends.torch.models.foreign import ForeignModel
from anubhav.backends.torch.models.foreign_attention import load_transformers
from anubhav.backends.torch.models.foreign_shape import read_foreign
from anubhav.backends.torch.models.model import Model
from anubhav.backends.torch.models.opening import open_model, read_shape
from anubhav.backends.torch.models.packing import Pack, pack
from anubhav.backends.torch.training.trainer import Training
from anubhav.catalog.folders import check_config, context_of
from anubhav.errors import BadInput, MissingPart
from anubhav.types.training import LoraSpec, Pass, PassResult

CPU, FP32 = torch.device("cpu"), torch.float32
BODY = LoraSpec(rank=4, seed=2, train_unembed=False)


@pytest.fixture(params=MAKERS)
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[TorchEngine, Path]]:
    write_family(request.param, tmp_path)
    engine = TorchEngine(tmp_path)
    assert engine.model.config.foreign
    yield engine, tmp_path
    engine.close()


@pytest.fixture
def phi3(tmp_path: Path) -> Path:
    write_family("phi3", tmp_path / "phi3")
    return tmp_path / "phi3"


def open_foreign(folder: Path) -> ForeignModel:
    return ForeignModel(folder, device=CPU, dtype=FP32)


def finish(training: Training, work: Pass) -> PassResult:
    steps = training.run(work)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            assert done.value.failure is None
            return done.value


def disturbed(model: ForeignModel | Model, spec: LoraSpec, seed: int = 3) -> Adapter:
    """With B ≠ 0."""
    adapter = fresh_adapter(model.config, spec, CPU)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for pair in adapter.pairs.values():
            blocks = 1 if pair.blocks_OR is None else pair.blocks_OR
            pair.b_OR.copy_(torch.randn(pair.b_OR.shape, generator=draw) * 0.05 * blocks)
    return adapter


# Shared prefixes, repetitions and extensions: gradients of every factor against autograd through transformers.
test_trainer_matches_transformers = test_families.test_trainer_matches_transformers
# Adapters and the base model in one batch, prompts in chunks, single tokens: what the sampler says, the trainer says.
test_sampler_and_trainer_agree = test_families.test_sampler_and_trainer_agree


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:`is_gradient_checkpointing`")
async def test_peft_reads_what_is_saved_and_merging_says_the_same(
    family: tuple[TorchEngine, Path], tmp_path_factory: Any
) -> None:
    engine, folder = family
    await test_families.disturb(engine, LoraSpec(rank=4, seed=1))
    to = tmp_path_factory.mktemp("out")
    (to / "adapter").mkdir()
    (to / "merged").mkdir()
    await engine.trainer.save(RUN, to / "adapter", optimizer=False)
    (found,) = await engine.trainer.run([Pass(RUN, (DATUM,), "cross_entropy", backward=False)])
    ours = found.logprobs[0].tolist()
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=FP32)
    assert max(abs(a - b) for a, b in zip(ours, logprobs_of(plain), strict=True)) > 0.1, "the adapter says nothing"
    theirs = PeftModel.from_pretrained(plain, str(to / "adapter"))
    assert logprobs_of(theirs) == pytest.approx(ours, abs=1e-4)
    write_merged(to / "adapter", folder, to / "merged")
    merged = AutoModelForCausalLM.from_pretrained(to / "merged", dtype=FP32)
    assert logprobs_of(merged) == pytest.approx(ours, abs=1e-4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")
async def test_an_adapter_of_peft_is_read(phi3: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    options = LoraConfig(r=3, lora_alpha=12, target_modules=["qkv_proj", "down_proj"], init_lora_weights=False)
    theirs = get_peft_model(AutoModelForCausalLM.from_pretrained(phi3, dtype=FP32), options)
    theirs.save_pretrained(tmp_path / "adapter")
    engine = TorchEngine(phi3)
    await engine.trainer.load(RUN, tmp_path / "adapter", optimizer=False)
    (found,) = await engine.trainer.run([Pass(RUN, (DATUM,), "cross_entropy", backward=False)])
    engine.close()
    assert found.logprobs[0].tolist() == pytest.approx(logprobs_of(theirs), abs=1e-4)


@pytest.mark.parametrize("own", ["llama3 rope", "mistral", "qwen2", "gemma3", "deepseek"])
def test_our_own_families_say_the_same_by_transformers(own: str, tmp_path: Path) -> None:
    test_families.write(own, tmp_path)
    if own == "deepseek":  # as real ones have it; its modules divide by it
        file = tmp_path / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"num_key_value_heads": 4}))
    ours, theirs = Model(tmp_path, device=CPU, dtype=FP32), open_foreign(tmp_path)
    assert theirs.config.windows == ours.config.windows
    # DeepSeek's experts and up-projections are no sites of both.
    spec = LoraSpec(rank=4, seed=1, train_mlp=False, train_attn=own != "deepseek")
    adapter = disturbed(ours, spec)
    (tmp_path / "adapter").mkdir()
    write_adapter(ours.config, adapter, tmp_path / "adapter", None)
    results: list[tuple[PassResult, dict[str, Tensor]]] = []
    for model in (ours, theirs):
        training = Training(model)
        training.adopt(RUN, read_adapter(model.config, tmp_path / "adapter", CPU)[0], None)
        result = finish(training, Pass(RUN, some_data(1), "cross_entropy"))
        pupil = training.pupil(RUN)
        results.append((result, dict(named_tensors(model.config, pupil.adapter, pupil.gradient.tensors))))
    (mine, my_gradient), (other, other_gradient) = results
    assert my_gradient.keys() == other_gradient.keys()
    for one, two in zip(mine.logprobs, other.logprobs, strict=True):
        assert one.tolist() == pytest.approx(two.tolist(), abs=1e-4)
    for name, gradient in my_gradient.items():
        assert float((gradient - other_gradient[name]).norm() / gradient.norm()) < 2e-4, name


def branches_of(model: ForeignModel, adapter: Adapter | None, texts: list[tuple[int, ...]]) -> list[Tensor]:
    """The logits of texts that are packed."""
    (one,) = pack(texts, 1000, CPU)
    assert len(one.tokens) < sum(map(len, texts)), "nothing is shared"
    segments = [Segment(adapter)] if adapter else []
    logits_TV = model.logits(one.hidden(model, segments), segments)
    return [logits_TV[list(one.rows[number])] for number in range(len(texts))]


@torch.no_grad()
def test_branches_see_their_own_past_alone(phi3: Path) -> None:
    model = open_foreign(phi3)
    adapter = disturbed(model, LoraSpec(rank=4))
    texts = [(5, 6, 7, 8, *tail) for tail in ((1, 2, 3), (9, 9), (250, 2, 3, 4, 5, 6, 7, 8, 9, 10))]
    for text, packed_TV in zip(texts, branches_of(model, adapter, texts), strict=True):
        (alone,) = pack([text], 1000, CPU)
        alone_TV = model.logits(alone.hidden(model, [Segment(adapter)]), [Segment(adapter)])
        torch.testing.assert_close(packed_TV, alone_TV, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_rows_of_a_batch_speak_with_their_own_adapters(phi3: Path) -> None:
    model = open_foreign(phi3)
    adapters = [disturbed(model, LoraSpec(rank=rank, seed=rank), rank) for rank in (2, 5)]
    rows = [torch.tensor([0, 3, 4]), torch.tensor([1, 5])]  # row 2 speaks with the base
    tokens_T, positions_T = torch.tensor([5, 80, 120, 7, 299, 3]), torch.tensor([3, 0, 9, 200, 1, 17])

    def alone(layer: int, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> Tensor:
        return v_TGD.repeat_interleave(q_THD.shape[1] // v_TGD.shape[1], 1)  # each row looks at itself

    def says(segments: list[Segment]) -> Tensor:
        return model.logits(model.hidden(tokens_T, positions_T, segments, alone), segments)

    mixed_TV = says([Segment(adapter, some) for adapter, some in zip(adapters, rows, strict=True)])
    base_TV = says([])
    torch.testing.assert_close(mixed_TV[2], base_TV[2], atol=1e-4, rtol=1e-4)
    for adapter, some in zip(adapters, rows, strict=True):
        own_TV = says([Segment(adapter)])
        torch.testing.assert_close(mixed_TV[some], own_TV[some], atol=1e-4, rtol=1e-4)
        assert float((own_TV[some] - base_TV[some]).abs().max()) > 0.1


def test_others_are_served_in_breaks_of_a_pass_which_do_not_show(phi3: Path) -> None:
    model = open_foreign(phi3)
    adapter, other = disturbed(model, LoraSpec(rank=4)), disturbed(model, LoraSpec(rank=2), 9)
    (one,) = pack([(5, 6, 7, 8), (5, 6, 9)], 1000, CPU)
    breaks: list[Tensor] = []

    @torch.no_grad()
    def serve() -> None:
        (theirs,) = pack([(1, 2, 3)], 1000, CPU)
        breaks.append(theirs.hidden(model, [Segment(other)]))

    def gradient(one: Pack, *, disturb: bool) -> tuple[Tensor, ...]:
        hidden_TE = one.hidden(model, [Segment(adapter)], serve if disturb else None)
        body = [t for site, pair in adapter.pairs.items() if site[1] != "head" for t in (pair.a_RI, pair.b_OR)]
        return hidden_TE, *torch.autograd.grad(hidden_TE.square().sum(), body)

    for quiet, served in zip(gradient(one, disturb=False), gradient(one, disturb=True), strict=True):
        torch.testing.assert_close(quiet, served, atol=0, rtol=0)
    assert len(breaks) == 2 * model.config.layers - 1, "nothing is learnt before the first layer"
    assert all(torch.equal(one, breaks[0]) for one in breaks)


def test_the_base_gets_no_gradients(phi3: Path) -> None:
    model = open_foreign(phi3)
    (one,) = pack([(5, 6, 7, 8)], 1000, CPU)
    one.hidden(model, [Segment(disturbed(model, BODY))]).sum().backward()
    assert not any(weight.requires_grad or weight.grad is not None for weight in model._net.parameters())


def test_what_can_be_adapted_is_found_and_named_as_in_the_model(tmp_path: Path) -> None:
    def groups(family: str, spec: LoraSpec) -> set[str]:
        write_family(family, tmp_path / family)
        return set(groups_of(read_foreign(tmp_path / family), 1, spec))

    attention, mlp = LoraSpec(train_mlp=False), LoraSpec(train_attn=False)
    assert groups("phi3", attention) == {"self_attn.qkv_proj", "self_attn.o_proj"}
    assert groups("phi3", mlp) == {"mlp.gate_up_proj", "mlp.down_proj"}
    assert groups("gpt neox", attention) == {"attention.query_key_value", "attention.dense"}
    assert groups("gpt neox", mlp) == {"mlp.dense_h_to_4h", "mlp.dense_4h_to_h"}
    assert groups("opt, learnt positions", mlp) == {"fc1", "fc2"}
    assert groups("olmoe, frozen experts", mlp) == set()
    config = read_foreign(tmp_path / "olmoe, frozen experts")
    with pytest.raises(BadInput, match="no linear layers"):
        fresh_adapter(config, LoraSpec(train_attn=False, train_unembed=False), CPU)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_would_be_wrong_is_refused_by_name(name: str, tmp_path: Path) -> None:
    make, reason = REFUSED[name]
    torch.manual_seed(1)
    write(make(), tmp_path)
    with pytest.raises(BadInput, match=reason):
        open_model(tmp_path, device=CPU, dtype=FP32)


def test_the_trial_finds_other_numbers(phi3: Path) -> None:
    model = open_foreign(phi3)
    net = AutoModelForCausalLM.from_pretrained(phi3, dtype=FP32, attn_implementation="eager").eval()
    foreign_trial.check(model, foreign_trial.expect(net, model.config, CPU))
    with torch.no_grad():
        net.model.layers[1].self_attn.o_proj.weight.mul_(1.05)
    with pytest.raises(BadInput, match="off by"):
        foreign_trial.check(model, foreign_trial.expect(net, model.config, CPU))


def test_the_trial_finds_what_mixes_neighbours_outside_of_attention(phi3: Path) -> None:
    def shift(_: Any, __: Any, out: Tensor) -> Tensor:
        return out + torch.nn.functional.pad(out, (0, 0, 1, 0))[:, :-1]

    model = open_foreign(phi3)
    net = AutoModelForCausalLM.from_pretrained(phi3, dtype=FP32, attn_implementation="eager").eval()
    for one in (model._net, net):
        one.model.layers[1].mlp.register_forward_hook(shift)
    texts = [(5, 6, 7, 8, 9)]
    (alone,) = pack(texts, 1000, CPU)
    with torch.no_grad():
        same_TV = net(torch.tensor(texts), use_cache=False).logits[0]
        torch.testing.assert_close(model.logits(alone.hidden(model, []), []), same_TV, atol=1e-3, rtol=1e-3)
    with pytest.raises(BadInput, match="off by"):
        foreign_trial.check(model, foreign_trial.expect(net, model.config, CPU))


def test_a_folder_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = MAKERS["phi3"]()
    kept = {name: value for name, value in net.state_dict().items() if "layers.2.mlp.down_proj" not in name}
    net.save_pretrained(tmp_path, state_dict=kept)
    with pytest.raises(MissingPart, match=r"layers\.2\.mlp\.down_proj"):
        open_foreign(tmp_path)


def test_a_folder_that_points_to_another_model_is_refused(phi3: Path, tiny_llama: Path) -> None:
    (phi3 / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tiny_llama)}))
    with pytest.raises(BadInput, match="adapter"):
        open_foreign(phi3)


@takes_bfloat16
def test_bfloat16_is_computed_too(phi3: Path) -> None:
    exact, rough = open_foreign(phi3), ForeignModel(phi3, device=CPU, dtype=torch.bfloat16)
    (one,) = pack([(5, 6, 7, 8), (5, 6, 9)], 1000, CPU)
    with torch.no_grad():
        exact_TV, rough_TV = (m.logits(one.hidden(m, []), []).float() for m in (exact, rough))
    assert rough.head.dtype == torch.bfloat16
    assert float((exact_TV - rough_TV).norm() / exact_TV.norm()) < 0.05


def test_our_own_layers_go_first_and_the_log_says_when_they_do_not(
    phi3: Path, tiny_llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert isinstance(open_model(tiny_llama, device=CPU, dtype=FP32), Model)
        assert not caplog.records
        assert isinstance(open_model(phi3, device=CPU, dtype=FP32), ForeignModel)
    assert "Phi3ForCausalLM" in caplog.text
    with pytest.raises(BadInput, match="Phi3ForCausalLM are not written as GGUF"):
        write_gguf_adapter(phi3, phi3, tmp_path / "adapter.gguf")


def test_without_transformers_the_way_to_it_is_told(phi3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = json.loads((phi3 / "config.json").read_text())
    check_config(raw)
    assert context_of(raw) == read_shape(phi3).context == 256
    load_transformers.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPart, match=r"pip install 'anubhav\[transformers\]'"):
        open_model(phi3, device=CPU, dtype=FP32)
    with pytest.raises(BadInput, match=r"Phi3ForCausalLM.*pip install 'anubhav\[transformers\]'"):
        check_config(raw)
    with pytest.raises(BadInput, match="BertForMaskedLM is not implemented"):
        check_config({"architectures": ["BertForMaskedLM"]})


def test_positions_that_turn_all_others_are_not_offered(tmp_path: Path) -> None:
    net = MAKERS["phi3"]()
    net.config.rope_parameters = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
        "short_factor": [1.0] * 8,
        "long_factor": [4.0] * 8,
        "original_max_position_embeddings": 64,
    }
    net.save_pretrained(tmp_path)
    model = open_foreign(tmp_path)
    assert model.config.context == context_of(json.loads((tmp_path / "config.json").read_text())) == 64
    kinds = {"max_position_embeddings": 256, "rope_parameters": {"full_attention": net.config.rope_parameters}}
    assert context_of(kinds) == 64
    (one,) = pack([tuple(range(65))], 1000, CPU)
    with pytest.raises(BadInput, match="64 positions"):
        one.hidden(model, [])
