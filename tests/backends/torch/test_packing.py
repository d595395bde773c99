"""Attention over a packed trie against plain causal attention over each sequence alone, values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from anubhav.backends.torch.kernels.native import library
from anubhav.backends.torch.layers import fused_attention
from anubhav.backends.torch.models.packing import pack

CPU = torch.device("cpu")
HEADS, GROUPS = 4, 2
# Few tokens, so that sequences often begin alike, repeat and contain one another.
SEQUENCES = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12).map(tuple), min_size=1, max_size=8)


def project(tokens: Tensor, positions: Tensor, weights: Tensor, width: int) -> list[Tensor]:
    """q, k and v that depend on nothing but the token and its position, as rows that are shared must."""
    seen = torch.stack([torch.cos(tokens + 1.0), torch.sin(positions * 0.7), positions * 0.1], -1)
    flat = torch.tanh(seen @ weights).unflatten(-1, (HEADS + 2 * GROUPS, width))
    return list(flat.split([HEADS, GROUPS, GROUPS], 1))


def plain(sequence: tuple[int, ...], weights: Tensor, width: int) -> Tensor:
    q, k, v = project(torch.tensor(sequence), torch.arange(len(sequence)), weights, width)
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)[0].transpose(0, 1)


# Plain torch has the heads that are no multiple of 16 wide, and all of them where there are no kernels.
@pytest.mark.parametrize("width", [8, 16, 48])
@settings(deadline=None)
@given(SEQUENCES, st.integers(1, 40))
def test_a_packed_sequence_sees_what_it_sees_alone(width: int, sequences: list[tuple[int, ...]], budget: int) -> None:
    torch.manual_seed(len(sequences))
    weights = torch.randn(3, (HEADS + 2 * GROUPS) * width)
    pulls = [torch.randn(len(sequence), HEADS, width) for sequence in sequences]

    ours, theirs = weights.clone().requires_grad_(), weights.clone().requires_grad_()
    heard: set[int] = set()
    for one in pack(sequences, budget, CPU):
        assert len(one.tokens) <= max(budget, max(map(len, one.rows.values())))
        q, k, v = project(torch.tensor(one.tokens), torch.tensor(one.positions), ours, width)
        assert fused_attention.takes(q, k, v) == (width % 16 == 0 and library() is not None)
        out = one.trie.attend(q, k, v)
        for number, rows in one.rows.items():
            assert tuple(one.tokens[row] for row in rows) == sequences[number]
            torch.testing.assert_close(out[list(rows)], plain(sequences[number], weights, width))
            heard.add(number)
        sum((out[list(rows)] * pulls[number]).sum() for number, rows in one.rows.items()).backward(retain_graph=True)
    assert heard == set(range(len(sequences)))
    sum(
        (plain(sequence, theirs, width) * pull).sum() for sequence, pull in zip(sequences, pulls, strict=True)
    ).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-4)


def test_what_is_shared_is_computed_once() -> None:
    (one,) = pack([(1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3), (1, 2, 3, 4)], 100, CPU)
    assert sorted(one.tokens) == [1, 2, 3, 4, 5]


def test_branches_of_one_size_are_computed_together() -> None:
    prefix = tuple(range(20))
    (one,) = pack([(*prefix, 100 + number, *range(9)) for number in range(16)], 1000, CPU)
    assert [bucket.branches for bucket in one.trie.buckets()] == [1, 15]


@pytest.mark.skipif(library() is None, reason="there is no C compiler here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_the_kernels_of_attention_do_what_plain_torch_does(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    """Long paths, of several blocks of queries and keys, and rows that lie apart."""
    torch.manual_seed(0)
    prefix = tuple(range(100))
    (one,) = pack([(*prefix, 1), (*prefix, 2, *range(70)), tuple(range(7, 120)), (5,)], 1000, CPU)
    rows = len(one.tokens)
    pull = torch.randn(rows, 6, 32).to(dtype)

    def work() -> list[Tensor]:
        flat = torch.randn(rows, 10 * 32, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
        q, k, v = flat.unflatten(-1, (10, 32)).split([6, 2, 2], 1)
        out = one.trie.attend(q * 3, k, v)
        return [out.detach(), torch.autograd.grad(out, flat, pull)[0]]

    native = work()
    again = work()
    assert all(torch.equal(a, b) for a, b in zip(native, again, strict=True))
    threads = torch.get_num_threads()
    monkeypatch.setattr(fused_attention, "threads", lambda: 1 if threads > 1 else 3)
    assert all(torch.equal(a, b) for a, b in zip(native, work(), strict=True)), "threads change the result"
    monkeypatch.setattr(fused_attention, "library", lambda: None)
    for ours, theirs in zip(native, work(), strict=True):
        room = {torch.float32: 1e-5, torch.bfloat16: 3e-2}[dtype] * float(theirs.abs().max())
        assert float((ours.double() - theirs.double()).abs().max()) < room
