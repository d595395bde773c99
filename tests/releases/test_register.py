from collections.abc import Iterator

import pytest

from anubhav.errors import BadInput
from anubhav.releases.register import Register
from anubhav.store import experience
from anubhav.store.database import Connection, Database
from anubhav.types.experience import Lap, Release

PATH = "tinker://ses_1:train:0/weights/"


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database(":memory:")
    yield database
    database.close()


@pytest.fixture
def register(database: Database) -> Register:
    return Register(database)


def keep_checkpoint(connection: Connection, path: str) -> None:
    connection.execute(
        "INSERT INTO checkpoints (path, run, kind, name, tenant, base_model, spec, adapter, folder, manifest,"
        " has_optimizer, size_bytes, created_at)"
        " VALUES (?, 'run', 'weights', '', 'anubhav', '', '', '', '', '', 0, 0, 0)",
        (path,),
    )


async def settle(register: Register, name: str, action: str = "promote", cursor: int | None = 1) -> None:
    release = Release(
        f"rel_{name}", "default", PATH + name, f"ad_{name}", action, "ada", "better", 1.0, f"lap_{name}", {"n": 1}
    )
    lap = Lap(f"lap_{name}", "default", "done", "done", 0.0, 1.0, {"steps": 3})
    await register._database.run(lambda c: keep_checkpoint(c, PATH + name))
    await register.settle(release, lap, '{"scores": []}', None if cursor is None else ("lap", cursor))


async def live(register: Register) -> str | None:
    release = await register.current("default")
    return release.path.removeprefix(PATH) if release and release.path else None


async def test_a_promotion_is_live_and_a_discard_is_only_history(register: Register) -> None:
    assert await register.current("default") is None
    await settle(register, "a")
    await settle(register, "b", "discard")
    assert await live(register) == "a"
    assert [(one.id, one.action) for one in await register.history("default")] == [
        ("rel_b", "discard"),
        ("rel_a", "promote"),
    ]
    assert (await register.history())[0].verdict == {"n": 1}
    assert await register.aliases() == ["default"]


async def test_settling_keeps_all_of_it_or_nothing(register: Register, database: Database) -> None:
    await settle(register, "a", cursor=7)
    assert await database.run(lambda c: experience.position(c, "lap", "default")) == 7
    found = await database.run(lambda c: experience.find_lap(c, "lap_a"))
    assert found and (found[0].report, found[1]) == ({"steps": 3}, '{"scores": []}')
    with pytest.raises(Exception, match="UNIQUE"):
        await settle(register, "a", "discard", cursor=9)
    assert await database.run(lambda c: experience.position(c, "lap", "default")) == 7
    await settle(register, "b", "discard", cursor=None)
    assert await database.run(lambda c: experience.position(c, "lap", "default")) == 7


async def test_rolling_back_goes_one_standing_release_down_each_time(register: Register) -> None:
    for name in ("a", "b", "c"):
        await settle(register, name)
    seen: list[str | None] = []
    for _ in range(3):
        release = await register.rollback("default", "ada", "it was rude")
        assert (release.action, release.who, release.why) == ("rollback", "ada", "it was rude")
        seen.append(await live(register))
    assert seen == ["b", "a", None]
    with pytest.raises(BadInput, match="base model already"):
        await register.rollback("default", "ada", "again")


async def test_what_was_rolled_back_is_never_gone_back_to(register: Register) -> None:
    for name in ("a", "b"):
        await settle(register, name)
    await register.rollback("default", "ada", "b is rude")
    await settle(register, "c")
    assert [one.id for one in await register.standing("default")] == ["rel_a", "rel_c"]
    await register.rollback("default", "ada", "c is rude")
    assert await live(register) == "a"


async def test_aliases_do_not_touch_each_other(register: Register) -> None:
    await settle(register, "a")
    with pytest.raises(BadInput):
        await register.rollback("other", "ada", "nothing there")
    assert await live(register) == "a"
