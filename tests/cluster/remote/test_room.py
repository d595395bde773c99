"""Whether what stands on a node finds room on the others, without a cluster."""

import pytest

from anubhav.cluster.remote.nodes import Spot
from anubhav.cluster.remote.room import Need, check_room
from anubhav.errors import Unavailable


def spot(name: str, processors: int, cards: int = 0) -> Spot:
    """A node with so much that is free."""
    return Spot(name * 56, name, "10.0.0.1", 64, 8, processors, cards)


HOST, CARD = (2, 0), (2, 1)


@pytest.mark.parametrize(
    ("needs", "others"),
    [
        ([], []),
        ([Need("trainer", (HOST,))], [spot("b", 2)]),
        ([Need("trainer", (HOST,)), Need("sampler 1", (HOST,))], [spot("b", 3), spot("c", 2)]),
        ([Need("gang", (HOST, HOST), freed={"b" * 56: HOST})], [spot("b", 0), spot("c", 2)]),
        ([Need("gang", ((4, 2), CARD))], [spot("b", 2, 1), spot("c", 4, 2)]),
        ([Need("gang", (HOST, HOST), apart=True)], [spot("b", 2), spot("c", 2)]),
    ],
)
def test_what_fits_may_go(needs: list[Need], others: list[Spot]) -> None:
    check_room(spot("a", 0), needs, others)


@pytest.mark.parametrize(
    ("needs", "others", "says", "hint"),
    [
        ([Need("trainer", (HOST,))], [], "trainer would find no room.*there is none", "with 2 processors,"),
        ([Need("one", (HOST,)), Need("two", (HOST,))], [spot("b", 3)], ": two would find no room.* 3", "2 processors"),
        ([Need("gang", (HOST, HOST), apart=True)], [spot("b", 4)], "gang", "4 processors"),
        ([Need("gang", (CARD, CARD))], [spot("b", 4, 1)], "gang", "4 processors and 2 cards"),
        ([Need("gang", (HOST, HOST), freed={"a" * 56: HOST})], [spot("b", 2)], "gang", "4 processors"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would_do(
    needs: list[Need], others: list[Spot], says: str, hint: str
) -> None:
    with pytest.raises(Unavailable, match=says) as refused:
        check_room(spot("a", 0), needs, others)
    assert hint in refused.value.hint
