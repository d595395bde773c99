"""Each compiled kernel of training against the plain path beside it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anubhav.backends.torch.kernels import fused
from anubhav.backends.torch.kernels.native import library
from anubhav.backends.torch.layers.elementwise import rms_norm, rotate, swiglu
from anubhav.backends.torch.models import head
from anubhav.backends.torch.training import adamw
from anubhav.backends.torch.training.optimizer import Moments
from anubhav.types.training import OptimParams

pytestmark = pytest.mark.skipif(library() is None, reason="there is no C compiler here")

TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
ROOM = {torch.float32: 2e-6, torch.bfloat16: 2e-2}


def both(monkeypatch: pytest.MonkeyPatch, work: Callable[[], tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """What the kernels make of it, and what plain torch does."""
    calls: list[str] = []
    call = fused._call
    with monkeypatch.context() as patch:
        patch.setattr(fused, "_call", lambda name, *values: (calls.append(name), call(name, *values)))
        native = work()
        assert calls, "no kernel was used"
        calls.clear()
        patch.setattr(fused, "library", lambda: None)
        plain = work()
        assert not calls
    return [native, plain]


def same(native: tuple[Tensor, ...], plain: tuple[Tensor, ...], room: float) -> None:
    for ours, theirs in zip(native, plain, strict=True):
        assert ours.dtype == theirs.dtype
        # Within the room of the largest: the rounding of a sum is that of its largest parts.
        assert float((ours.double() - theirs.double()).abs().max()) <= room * float(theirs.abs().max().clamp_min(1))


def pulled(layer: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = layer(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(7)).to(y.dtype)
    return y.detach(), torch.autograd.grad(y, x, weights)[0]


@TYPES
@pytest.mark.parametrize("stream", [torch.float32, torch.bfloat16], ids=["float32 stream", "bfloat16 stream"])
def test_norm(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, stream: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(37, 96).to(stream) * 5, torch.randn(96).to(dtype)
    room = max(ROOM[dtype], ROOM[stream])
    same(*both(monkeypatch, lambda: pulled(lambda x: rms_norm(x, weight, 1e-5), x)), room)
    heads = torch.randn(5, 96).to(stream)[:, :64].unflatten(-1, (2, 32))
    same(*both(monkeypatch, lambda: pulled(lambda x: rms_norm(x, weight[:32], 1e-5), heads)), room)


@TYPES
def test_swiglu(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (torch.randn(19, 2 * 112) * 6).to(dtype)
    x[0, :3] = torch.tensor([-300.0, 300.0, 0.0])
    same(*both(monkeypatch, lambda: pulled(swiglu, x)), ROOM[dtype])


@TYPES
def test_rotate(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    angles = torch.randn(11, 1, 16)
    x = torch.randn(11, 160).to(dtype)[:, 32:128].unflatten(-1, (3, 32))
    same(*both(monkeypatch, lambda: pulled(lambda x: rotate(x, angles.cos(), angles.sin()), x)), ROOM[dtype])


@TYPES
@pytest.mark.parametrize("vocab", [48, 301])
def test_the_softmax_of_the_vocabulary(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, vocab: int) -> None:
    torch.manual_seed(0)
    logits = (torch.randn(9, vocab) * 8).to(dtype)
    logits[3] += 500  # its exponentials overflow unless the highest is taken off first
    factors = torch.tensor([1.0, -2.0, 0.0, 0.5, 1.0, 0.0, 3.0, 1.0, -1.0])

    def work() -> tuple[Tensor, Tensor]:
        place = torch.tensor([0, 0, 3, 8])
        chances = head._Chances(logits.clone(), place, torch.tensor([1, 47, 5, vocab - 1]))
        return chances.logprobs, chances.times(factors).float()

    same(*both(monkeypatch, work), max(ROOM[dtype], 1e-5))


def test_adamw(monkeypatch: pytest.MonkeyPatch) -> None:
    params = OptimParams(learning_rate=1e-2, weight_decay=0.1, grad_clip_norm=0.5)

    def work() -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        weights = [torch.randn(7, 5), torch.randn(130)]
        moments = Moments()
        moments.begin("adamw", weights)
        for _ in range(3):
            adamw.update(weights, [torch.randn_like(one) for one in weights], moments, params)
        return (*weights, *moments.first, *moments.second)

    same(*both(monkeypatch, work), 1e-6)


def test_the_switch_turns_all_of_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANUBHAV_NATIVE", "0")
    library.cache_clear()
    try:
        assert library() is None
        assert fused.swiglu(torch.randn(2, 32)) is None
    finally:
        monkeypatch.undo()
        library.cache_clear()
    assert fused.swiglu(torch.randn(2, 32)) is not None
