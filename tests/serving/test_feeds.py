import asyncio

import pytest

from anubhav.errors import Gone
from anubhav.serving.feeds import Feeds, Ready

MINE, OTHER = ("ses:sample:0", 0), ("ses:sample:0", 1)


async def test_each_client_hears_of_its_own_and_once() -> None:
    feeds = Feeds()
    feeds.tell(MINE, "sp_1", failed=False)
    feeds.tell(OTHER, "sp_2", failed=False)
    feeds.tell(MINE, "sp_3", failed=True)
    ready, cursor = await feeds.read(MINE, 0, 0)
    assert ready == [Ready("sp_1", False), Ready("sp_3", True)]
    assert await feeds.read(MINE, 0, 0) == (ready, cursor), "an answer that was lost can be asked for again"
    assert await feeds.read(MINE, cursor, 0) == ([], cursor)
    assert await feeds.read(MINE, 0, 0) == ([], 0)
    assert (await feeds.read(OTHER, 0, 0))[0] == [Ready("sp_2", False)]
    feeds.forget("sp_2")
    feeds.forget("sp_2")
    assert await feeds.read(OTHER, 0, 0) == ([], 0)


async def test_a_long_poll_ends_with_the_first_news_or_with_its_time() -> None:
    feeds = Feeds()
    polls = [asyncio.create_task(feeds.read(MINE, 0, 5)) for _ in range(2)]
    await asyncio.sleep(0)
    feeds.tell(OTHER, "sp_1", failed=False)
    await asyncio.sleep(0.01)
    assert not any(poll.done() for poll in polls)
    feeds.tell(MINE, "sp_2", failed=False)
    assert [(await poll)[0] for poll in polls] == [[Ready("sp_2", False)]] * 2
    assert await feeds.read(("none", 0), 0, 0.01) == ([], 0)


async def test_a_cursor_of_an_earlier_process_is_told_apart() -> None:
    earlier = Feeds()
    earlier.tell(MINE, "sp_1", failed=False)
    _, cursor = await earlier.read(MINE, 0, 0)
    await asyncio.sleep(0.001)
    later = Feeds()
    later.tell(MINE, "sp_2", failed=False)
    with pytest.raises(Gone):
        await later.read(MINE, cursor, 0)
    assert (await later.read(MINE, 0, 0))[0] == [Ready("sp_2", False)]
