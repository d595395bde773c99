"""How data are dealt out to ranks."""

from hypothesis import given
from hypothesis import strategies as st

from anubhav.cluster.sharded.batches import deal

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


@given(LENGTHS, st.integers(1, 4), st.integers(1, 64), st.sampled_from([1, 2, 4]), st.integers(1, 3))
def test_everything_is_dealt_once_and_all_ranks_meet_equally_often(
    lengths: list[int], ranks: int, budget: int, multiple: int, stages: int
) -> None:
    hands = deal(lengths, ranks, budget, multiple, stages)
    dealt = sorted(number for hand in hands for batch in hand for number in batch.numbers)
    assert dealt == list(range(len(lengths)))
    assert len({len(hand) for hand in hands}) == 1
    assert len(hands[0]) >= stages
    for hand in hands:
        for batch in hand:
            assert batch.length % multiple == 0
            assert batch.rows * batch.length <= max(budget, batch.length)
            assert batch.rows >= max(1, len(batch.numbers))
            assert all(lengths[number] <= batch.length for number in batch.numbers)
        if stages > 1:
            assert len({(batch.rows, batch.length) for batch in hand}) == 1


def test_the_load_is_even() -> None:
    lengths = [30, 10, 10, 10, 20, 20]
    hands = deal(lengths, 2, 100)
    assert [sum(lengths[number] for batch in hand for number in batch.numbers) for hand in hands] == [50, 50]
