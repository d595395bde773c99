"""A server's turn to lead: waited for, watched over, and given up with a word about it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from throwaway_postgres import ThrowawayPostgres

from anubhav.http.relay import Relay
from anubhav.standby import turn
from anubhav.store.leading import Candidate
from anubhav.store.lines import connect
from anubhav.store.postgres import Deposed


async def until(reached: Callable[[], bool]) -> None:
    for _ in range(1200):
        if reached():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


async def test_the_lead_is_waited_for_and_given_up_aloud(postgres: ThrowawayPostgres, tmp_path: Path) -> None:
    url = postgres.create()
    before = Candidate(url, tmp_path)
    assert before.stand("http://before") == 1
    ended, led = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(ended.wait())
    relay, told = Relay(), list[str]()

    async def lead() -> None:
        async with turn(url, tmp_path, ("127.0.0.1", 1234), serving, relay, told.append) as mine:
            assert mine is not None
            led.set()
            try:
                await mine.over(serving)
            finally:
                mine.database.close()

    leading = asyncio.create_task(lead())
    await until(lambda: relay.leader is not None)
    assert (relay.leader, told) == ("http://before", ["http://before"])
    before.close()
    await led.wait()
    assert relay.leader is None
    with connect(url) as line:  # as if another had taken it while the connection was cut
        line.execute("UPDATE house SET term = term + 1")
        line.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    with pytest.raises(Deposed, match="leads no more"):
        await leading
    ended.set()
    await serving
    await relay.close()


async def test_who_stops_while_standing_by_never_led(postgres: ThrowawayPostgres, tmp_path: Path) -> None:
    url = postgres.create()
    leader = Candidate(url, tmp_path)
    assert leader.stand("http://leader") == 1
    relay = Relay()
    serving = asyncio.create_task(asyncio.sleep(0.5))
    async with turn(url, tmp_path, ("0.0.0.0", 1234), serving, relay, lambda _: None) as mine:
        assert mine is None
    leader.close()
    await relay.close()
