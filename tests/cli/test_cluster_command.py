"""What `anubhav cluster status` says of room."""

import pytest

from anubhav.cli.cluster import _growth


@pytest.mark.parametrize(
    ("posts", "rooms", "says"),
    [
        (["a trainer", "a sampler 1"], [0, 2], "room for 2 more samplers: anubhav serve --samplers 3"),
        (["a sampler 1", "a sampler 2", "b sampler 1", "b sampler 2"], [3], "--samplers 3"),
        (["a sampler 1", "b sampler 1"], [1], "no more"),
        (["a sampler 1"], [0, 0], "no more"),
    ],
)
def test_room_is_told_as_the_option_that_would_use_it(posts: list[str], rooms: list[int], says: str) -> None:
    assert says in _growth([{"post": post} for post in posts], [{"room": room} for room in rooms])
