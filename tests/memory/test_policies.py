"""Policies of memory: what decides, and what is gone back to."""

from dataclasses import replace

import pytest

from anubhav.errors import BadInput, Busy
from anubhav.memory.learn import Example
from anubhav.memory.policies import MemoryPolicies
from anubhav.memory.scoring import FIXED
from anubhav.store.database import Database


async def decide(policies: MemoryPolicies, *names: str) -> None:
    for name in names:
        await policies.activate("ann", replace(FIXED, name=name), "ann", "better")


async def back(policies: MemoryPolicies) -> str:
    return (await policies.rollback("ann", "ann", "worse")).policy.name


async def test_what_was_rolled_back_does_not_come_back(database: Database) -> None:
    policies = MemoryPolicies(database)
    await decide(policies, "first", "second")
    await policies.discard("ann", replace(FIXED, name="third"), "ann", "no better")
    assert await back(policies) == "first"
    await decide(policies, "fourth")
    assert [await back(policies), await back(policies)] == ["first", "fixed"]
    with pytest.raises(BadInput, match="set by hand"):
        await back(policies)
    await decide(policies, "fifth")
    assert (await MemoryPolicies(database).of("ann")).name == "fifth"
    assert await back(policies) == "fixed"


async def test_a_tenant_learns_one_thing_at_a_time(database: Database) -> None:
    policies = MemoryPolicies(database)
    with policies.learning("ann"), policies.learning("bob"), pytest.raises(Busy), policies.learning("ann"):
        pass
    with policies.learning("ann"):
        pass


async def test_labels_of_the_time_before_tokens_were_counted_are_read(database: Database) -> None:
    policies = MemoryPolicies(database)
    await policies.label("ann", "fb_1", "ep_1", [{"features": {"user": 1.0}, "needed": 1.0, "weight": 2.0}])  # pyright: ignore
    assert await policies.labels("ann") == [("ep_1", (Example({"user": 1.0}, 1.0, 2.0),))]
