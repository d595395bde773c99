"""A plan in a process of its own: what cannot be planned says why, and whoever gives up leaves nothing running."""

import asyncio
import pickle
import subprocess
import sys
from typing import Any

import pytest

from anubhav.cluster.planning.apart import plan_apart
from anubhav.cluster.planning.probe.figures import Measured, Traced
from anubhav.errors import BadInput

WISHES: dict[str, Any] = {
    "model": "kimi-k2", "gpus": 64, "gpu": "h200", "rank": 32, "experts": "shared-outer", "targets": "tinker",
    "sequence": 4096, "batch": 64, "cached": 1, "layout": None,
}  # fmt: skip


def test_who_reads_the_probes_answer_needs_no_torch() -> None:
    """Unpickling imports the module of a class, and torch with transformers takes as long as half a plan."""
    answer = pickle.dumps((Measured(1, 2, 3, 4), Traced(5, {}, {})))
    program = (
        "import pickle, sys, anubhav.cluster.planning.plan\n"
        f"pickle.loads({answer!r})\n"
        "assert not sys.modules.keys() & {'torch', 'transformers'}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_what_cannot_be_planned_says_why() -> None:
    with pytest.raises(BadInput, match="There are no figures of 'abacus'") as told:
        await plan_apart({**WISHES, "gpu": "abacus"})
    assert "h100" in told.value.hint


async def test_giving_up_ends_it_with_all_that_it_has_begun() -> None:
    task = asyncio.create_task(plan_apart(WISHES))
    await asyncio.sleep(1)
    task.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await task
