"""What the gateway's figures are made of: an engine that keeps its pace, and differences between the same requests."""

import asyncio
import time
from pathlib import Path

from anubhav.backends.opening import open_engine
from anubhav.types.sampling import SampleRequest, SamplingParams
from benchmarks.loop.table import write_table
from benchmarks.serve.gateway import Spent, report


async def test_an_engine_with_a_pace_waits_for_no_listener(tmp_path: Path) -> None:
    sampler = open_engine(write_table(tmp_path / "table", pace=0.02), None).sampler
    started, moments = time.monotonic(), list[float]()
    async for _ in sampler.sample(SampleRequest((5, 6, 7), SamplingParams(10, seed=1))):
        moments.append(time.monotonic() - started)
        await asyncio.sleep(0.015)
    assert len(moments) == 10
    assert 0.18 <= moments[-1] < 0.18 + 0.1  # 0.18 + 9 × 0.015, if it did


def test_an_overhead_is_the_difference_of_the_same_request() -> None:
    straight = [Spent([(0.1, 1.0, 5), (0.2, 3.0, 5)], 0.001)]
    house = [Spent([(0.102, 1.004, 4), (0.204, 3.008, 5)], 0.006)]
    floor = [Spent([(0.101, 1.002, 5), (0.201, 3.002, 5)], 0.003)]
    found = report({"straight": straight, "house": house, "floor": floor})
    assert found["house"]["overhead_p50_ms"] == 6.0
    assert found["house"]["first_event_p50_ms"] == 3.0
    assert found["house"]["events_a_request"] == 4.5
    assert (found["house"]["processor_ms_a_request"], found["processor_ms_a_request_ratio"]) == (5.0, 2.5)
    assert (found["overhead_p50_ms_ratio"], found["beyond_floor_p50_ms"]) == (3.0, 4.0)
