"""What transformers makes of a model folder, read from one pass of its modules without weights (torch's meta device):
which modules attend and to what, and which linear layers an adapter can stand on. What our attention does not compute
is refused here, by name.
"""

import json
import re
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from anubhav.backends.torch.layers.config import ForeignLinear, ForeignShape, ModelConfig
from anubhav.backends.torch.layers.rotary import Rotary
from anubhav.backends.torch.models.foreign_attention import NAME, Call, load_transformers, visiting
from anubhav.catalog.folders import context_of
from anubhav.errors import AnubhavError, BadInput

_TOKENS: Final = 11
"""Of the pass. No layer is likely to have it among its widths."""
_IN_LAYER = re.compile(r"(.+?)\.(\d+)(?:\.(.*))?")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts")
_HINT = "Use another model; docs/models.md says what can be computed."


def refuse(architecture: str, why: str) -> BadInput:
    return BadInput(f"The architecture {architecture} is not computed here: {why}", hint=_HINT)


def read_foreign(folder: Path) -> ModelConfig:
    """Raises BadInput, with the reason, for what cannot be computed or adapted."""
    transformers = load_transformers()
    if (folder / "adapter_config.json").exists():
        # transformers would open the model that this file names, in the place of the folder.
        raise BadInput("The model folder holds an adapter too", hint="Remove adapter_config.json, or merge it first.")
    raw: dict[str, Any] = json.loads((folder / "config.json").read_text())
    architecture = str((raw.get("architectures") or ["?"])[0])
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        _check(config, raw, architecture)
        with torch.device("meta"):
            net = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=NAME).eval()
        if type(net).__name__ != architecture:
            raise refuse(architecture, f"transformers takes it for a {type(net).__name__}")
        probe = _Probe(architecture, _context(raw, architecture))
        _walk(net, probe)
        return _describe(net, probe, raw)
    except AnubhavError:
        raise
    except Exception as problem:  # other people's code: whatever it fails with, it cannot be run
        reason = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        raise refuse(architecture, f"transformers cannot run it with our attention ({reason})") from problem


def _check(config: Any, raw: Mapping[str, Any], architecture: str) -> None:
    if config.is_encoder_decoder:
        raise refuse(architecture, "it has an encoder")
    if config.get_text_config() is not config:
        raise refuse(architecture, "it is a model of several parts, for more than text")
    if raw.get("quantization_config"):
        raise refuse(architecture, "its weights are quantized")


def _context(raw: Mapping[str, Any], architecture: str) -> int:
    try:
        return context_of(raw)
    except BadInput as problem:
        raise refuse(architecture, "its config.json does not say how many positions it has") from problem


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a token sees. Masks that no layer uses are made too, so what is wrong is told where one is used."""

    window: int | None
    """Of a causal mask: so many of the last tokens; None is all."""
    causal: bool = True


@dataclass(slots=True)
class _Probe:
    """The visitor that watches and computes nothing."""

    architecture: str
    context: int
    calls: list[Call] = field(default_factory=list[Call])
    used: Counter[nn.Module] = field(default_factory=Counter[nn.Module])
    """How often each linear layer was called with all tokens; a call with others counts double."""

    def attend(self, call: Call) -> Tensor:
        if call.rest.get("softcap") is not None:
            raise refuse(self.architecture, "its attention scores are capped (softcap)")
        if call.rest.get("s_aux") is not None:
            raise refuse(self.architecture, "its attention has sinks")
        if call.rest.get("is_causal") is False or not isinstance(call.mask, _Sight):
            raise refuse(self.architecture, "its attention has no causal mask that could be read")
        if not call.mask.causal:
            raise refuse(self.architecture, "its attention is neither causal nor causal with a window")
        for name, value in call.rest.items():
            if isinstance(value, Tensor) and name != "position_ids":
                raise refuse(self.architecture, f"its attention takes {name}")
        self.calls.append(call)
        tokens, width = call.query.shape[2], call.value.shape[3]
        return call.query.new_empty(1, tokens, call.query.shape[1], width)

    def mask(self, allows: Any) -> _Sight:
        """Read from what a few tokens may see."""
        last = self.context - 1
        window: int | None = None
        for place in dict.fromkeys([last, last // 2, *range(min(64, last)), 0]):
            query = torch.tensor(place, device="cpu")
            zero = torch.zeros((), dtype=torch.long, device="cpu")
            keys_K = torch.arange(self.context, device="cpu")
            seen_K = torch.as_tensor(allows(zero, zero, query, keys_K), device="cpu").expand(self.context)
            if place == last:
                count = int(seen_K.sum())
                window = None if count == self.context else count
            expected_K = (keys_K <= place) & (keys_K > place - (window or self.context))
            if not torch.equal(seen_K.bool(), expected_K):
                return _Sight(None, causal=False)
        return _Sight(window)


@contextmanager
def _counting(net: nn.Module, used: Counter[nn.Module]) -> Generator[None]:
    def count(module: nn.Module, args: tuple[Any, ...]) -> None:
        whole = bool(args) and args[0].numel() == _TOKENS * args[0].shape[-1]
        used[module] += 1 if whole else 2

    hooks = [one.register_forward_pre_hook(count) for one in net.modules() if type(one) is nn.Linear]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _walk(net: Any, probe: _Probe) -> None:
    # The plain form of experts asks which of them are chosen, which nobody knows without weights.
    net.set_experts_implementation("batched_mm")
    with visiting(probe), _counting(net, probe.used), torch.device("meta"):
        net(
            input_ids=torch.zeros(1, _TOKENS, dtype=torch.long),
            position_ids=torch.arange(_TOKENS)[None],
            attention_mask=torch.ones(1, _TOKENS, dtype=torch.long),
            use_cache=False,
        )


def _describe(net: Any, probe: _Probe, raw: Mapping[str, Any]) -> ModelConfig:
    architecture = probe.architecture
    names: dict[nn.Module, str] = {module: name for name, module in net.named_modules()}
    head, embedding = net.get_output_embeddings(), net.get_input_embeddings()
    if not probe.calls:
        raise refuse(architecture, "its attention cannot be replaced by ours")
    if type(head) is not nn.Linear:
        raise refuse(architecture, "its unembedding is no linear layer")
    found = [_IN_LAYER.fullmatch(names[call.module]) for call in probe.calls]
    places = [(str(one[1]), int(one[2])) for one in found if one]
    roots = {root for root, _ in places}
    if len(places) != len(found) or len(roots) != 1 or len(set(places)) != len(places):
        raise refuse(architecture, "its layers do not attend once each")
    shapes = {(c.query.shape[1], c.key.shape[1], c.query.shape[3], c.value.shape[3]) for c in probe.calls}
    if len(shapes) != 1:
        raise refuse(architecture, "its layers have heads of different shapes")
    (root,), ((heads, kv_heads, head_dim, v_dim),) = roots, shapes
    layers = len(net.get_submodule(root))
    calls = {layer: call for (_, layer), call in zip(places, probe.calls, strict=True)}
    foreign = ForeignShape(
        root,
        tuple(names[calls[layer].module] if layer in calls else "" for layer in range(layers)),
        names[head],
        _linears(probe, names, root, {int(raw[name]) for name in _EXPERTS if raw.get(name)}),
    )
    if not foreign.linears:
        raise refuse(architecture, "it has no linear layers that LoRA could adapt")
    return ModelConfig(
        architecture=architecture,
        layers=layers,
        hidden=head.in_features,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        v_dim=v_dim,
        intermediate=0,
        vocab=head.out_features,
        context=probe.context,
        norm_eps=0.0,
        tied=head.weight is embedding.weight,
        rotary=Rotary(()),
        windows=tuple(calls[layer].mask.window if layer in calls else None for layer in range(layers)),
        foreign=foreign,
    )


def _linears(probe: _Probe, names: Mapping[nn.Module, str], root: str, experts: set[int]) -> tuple[ForeignLinear, ...]:
    """Those that all tokens pass once, in their order: not the experts, each of which sees some, and no router."""
    attending: dict[int, str] = {}
    for call in probe.calls:
        layer, inner = _split(names[call.module], root)
        attending[layer] = inner.partition(".")[0]
    kinds: dict[tuple[str, int, int, bool], list[int]] = {}
    for module, name in names.items():
        if type(module) is not nn.Linear or probe.used[module] != 1 or not name.startswith(f"{root}."):
            continue
        layer, inner = _split(name, root)
        attention = inner.partition(".")[0] == attending.get(layer)
        numbered = any(part.isdigit() for part in inner.split("."))
        if numbered or (not attention and module.out_features in {1, *experts}):
            continue
        kinds.setdefault((inner, module.in_features, module.out_features, attention), []).append(layer)
    known: Counter[str] = Counter()
    linears: list[ForeignLinear] = []
    for (inner, inputs, outputs, attention), layers in kinds.items():
        known[inner] += 1
        group = inner if known[inner] == 1 else f"{inner} {known[inner]}"
        linears.append(ForeignLinear(group, inner, inputs, outputs, attention, tuple(layers)))
    return tuple(linears)


def _split(name: str, root: str) -> tuple[int, str]:
    """The number of a module's layer, and its name below that."""
    layer, _, inner = name.removeprefix(f"{root}.").partition(".")
    return int(layer), inner
