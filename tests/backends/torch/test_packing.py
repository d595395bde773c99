"""Attention over a packed trie against plain causal attention over each sequence alone, values and gradients."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from anubhav.backends.torch.packing import pack

CPU = torch.device("cpu")
HEADS, GROUPS, WIDTH = 4, 2, 8
# Few tokens, so that sequences often begin alike, repeat and contain one another.
SEQUENCES = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12).map(tuple), min_size=1, max_size=8)


def project(tokens: Tensor, positions: Tensor, weights: Tensor) -> list[Tensor]:
    """q, k and v that depend on nothing but the token and its position, as rows that are shared must."""
    seen = torch.stack([torch.cos(tokens + 1.0), torch.sin(positions * 0.7), positions * 0.1], -1)
    flat = torch.tanh(seen @ weights).unflatten(-1, (HEADS + 2 * GROUPS, WIDTH))
    return list(flat.split([HEADS, GROUPS, GROUPS], 1))


def plain(sequence: tuple[int, ...], weights: Tensor) -> Tensor:
    q, k, v = project(torch.tensor(sequence), torch.arange(len(sequence)), weights)
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)[0].transpose(0, 1)


@settings(deadline=None)
@given(SEQUENCES, st.integers(1, 40))
def test_a_packed_sequence_sees_what_it_sees_alone(sequences: list[tuple[int, ...]], budget: int) -> None:
    torch.manual_seed(len(sequences))
    weights = torch.randn(3, (HEADS + 2 * GROUPS) * WIDTH)
    pulls = [torch.randn(len(sequence), HEADS, WIDTH) for sequence in sequences]

    ours, theirs = weights.clone().requires_grad_(), weights.clone().requires_grad_()
    heard: set[int] = set()
    for one in pack(sequences, budget, CPU):
        assert len(one.tokens) <= max(budget, max(map(len, one.rows.values())))
        q, k, v = project(torch.tensor(one.tokens), torch.tensor(one.positions), ours)
        out = one.attend(0, q, k, v)
        for number, rows in one.rows.items():
            assert tuple(one.tokens[row] for row in rows) == sequences[number]
            torch.testing.assert_close(out[list(rows)], plain(sequences[number], weights))
            heard.add(number)
        sum((out[list(rows)] * pulls[number]).sum() for number, rows in one.rows.items()).backward(retain_graph=True)
    assert heard == set(range(len(sequences)))
    sum((plain(sequence, theirs) * pull).sum() for sequence, pull in zip(sequences, pulls, strict=True)).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-4)


def test_what_is_shared_is_computed_once() -> None:
    (one,) = pack([(1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3), (1, 2, 3, 4)], 100, CPU)
    assert sorted(one.tokens) == [1, 2, 3, 4, 5]


def test_branches_of_one_size_are_computed_together() -> None:
    prefix = tuple(range(20))
    (one,) = pack([(*prefix, 100 + number, *range(9)) for number in range(16)], 1000, CPU)
    assert [bucket.branches for bucket in one.buckets] == [1, 15]
