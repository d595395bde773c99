"""Who holds what of an adapter: every cell has exactly one rank that speaks for it, and gradients are whole."""

import itertools
from pathlib import Path

import pytest
import torch

from anubhav.backends.torch.layers.adapters import fresh_adapter, split
from anubhav.backends.torch.models.families import read_config
from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded.layout import Seat
from anubhav.cluster.sharded.pieces import Cut, Style
from anubhav.cluster.sharded.places import KINDS, Kind, Place, fresh, places
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec

LAYOUTS = [Layout(tp=2), Layout(fsdp=4, ep=4), Layout(tp=2, fsdp=2, ep=4), Layout(tp=2, fsdp=4, ep=2), Layout(fsdp=2)]
SPEC = LoraSpec(rank=4, seed=7)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_has_one_speaker_and_every_holder_is_in_its_group(
    folders: dict[str, Path], layout: Layout, kind: Kind
) -> None:
    config = read_config(folders["mixture"])
    styles: list[Style] = [None, "colwise", "rowwise"]
    found = list(places(config, SPEC, kind))
    dense = next(place for place in found if place.copies is None)
    cases = [*((dense, style) for style in styles), *((place, None) for place in found if place.copies)]
    for (place, style), half in itertools.product(cases, (0, 1)):
        seats = [Seat.of(rank, layout) for rank in range(layout.ranks)]
        pieces = [Cut(layout, seat).pieces(place, style)[half] for seat in seats]
        spoken = torch.zeros(place.shapes[half])
        for piece in pieces:
            spoken[piece.index] += piece.speaks
        assert spoken.eq(1).all()
        for seat, piece in zip(seats, pieces, strict=True):
            group = {"stage": lambda _: 0, "data": lambda one: one.tp, "copies": lambda one: one.ep}[piece.group]
            mates = [other for other, own in zip(pieces, seats, strict=True) if group(own) == group(seat)]
            assert all(mate.index == piece.index for mate in mates)
            assert sum(mate.speaks for mate in mates) == 1


@pytest.mark.parametrize("family", ["dense", "mixture", "deepseek"])
def test_a_fresh_adapter_is_that_of_the_torch_backend_to_the_bit(folders: dict[str, Path], family: str) -> None:
    config = read_config(folders[family])
    theirs = fresh_adapter(config, SPEC, torch.device("cpu"))
    wanted: list[tuple[torch.Tensor, torch.Tensor]] = []
    for site, pair in theirs.pairs.items():
        if pair.a_RI.dim() == 3:
            wanted.append((pair.a_RI, pair.b_OR))
        else:
            wanted += [(a, b) for _, a, b in split(config, SPEC, site[1], pair.a_RI, pair.b_OR)]
    ours = [(a, b) for _, a, b in fresh(config, SPEC, "per_expert")]
    assert len(ours) == len(wanted)
    for one, other in zip(ours, wanted, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_the_kinds_have_the_parameters_their_formulas_say(folders: dict[str, Path]) -> None:
    """A pair of rank R on I inputs and O outputs has R (I + O) cells."""
    config = read_config(folders["deepseek"])
    d, f, dense, experts, layers, rank = 64, 32, 128, 8, 3, 8
    spec = LoraSpec(rank=rank, train_attn=False, train_unembed=False)
    rest = rank * (3 * (d + dense) + layers * 3 * (d + f))  # the dense layer, and the shared experts
    wanted = {
        "per_expert": rest + layers * experts * 3 * rank * (d + f),
        "tied": rest + layers * 3 * rank * (d + f),
        "shared_outer": rest + layers * 3 * rank * (experts * f + d),
        "normalised": rest + layers * experts * 3 * (rank // 2) * (d + f),
    }
    found = {kind: sum(map(_cells, places(config, spec, kind))) for kind in KINDS}
    assert found == wanted


def _cells(place: Place) -> int:
    return sum(torch.empty(shape, device="meta").numel() for shape in place.shapes)


def test_a_rank_that_cannot_be_shared_out_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(BadInput, match="2 experts of a token"):
        list(places(read_config(folders["mixture"]), LoraSpec(rank=3), "normalised"))
    with pytest.raises(BadInput, match="no linear layers"):
        nothing = LoraSpec(train_attn=False, train_mlp=False, train_unembed=False)
        list(fresh(read_config(folders["dense"]), nothing, "per_expert"))
