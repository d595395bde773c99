"""The simulated engine of the capacity benchmark, and how its figures are taken."""

import asyncio
import time

import pytest

from anubhav.cluster.remote import post
from anubhav.types.sampling import SampleRequest, SamplingParams
from benchmarks.scale.capacity import jain, parts
from benchmarks.scale.simulated import Gate, SimulatedEngine


@pytest.fixture(autouse=True)
def _(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "kill", post.kill)  # the engine replaces it


async def test_nobody_speaks_before_all_came_and_then_tenants_take_turns() -> None:
    gate = Gate(24)
    engine = SimulatedEngine(258, replicas=2, rows=2, pace=0.005, gate=gate)
    await engine.open()
    heard: list[float] = []

    async def ask(number: int, tenant: str) -> int:
        count = 0
        request = SampleRequest((number + 2, 3), SamplingParams(4, seed=number), tenant=tenant)
        async for event in engine.sampler.sample(request):
            heard.append(time.monotonic())
            count += len(event.tokens)
        return count

    early = [asyncio.create_task(ask(number, "ann")) for number in range(20)]
    await asyncio.sleep(0.05)
    assert not heard
    late = [asyncio.create_task(ask(number, "bob")) for number in range(20, 24)]
    assert await asyncio.gather(*early, *late) == [4] * 24
    assert gate.ended == {"ann": 20, "bob": 4}
    # Whoever came last with little is not behind all that came before.
    assert gate.half["bob"] >= 3
    engine.close()


def test_figures_are_taken_tenth_by_tenth() -> None:
    marks = [(0.001 * number, 0.002 * number) for number in range(100)]
    found = parts(marks)
    assert [one["processor_ms"] for one in found[1:]] == pytest.approx([1.0] * 9)
    assert found[-1]["clock_ms"] == pytest.approx(2.0)
    assert (jain([5, 5, 5, 5]), jain([8, 0, 0, 0])) == (1.0, 0.25)
