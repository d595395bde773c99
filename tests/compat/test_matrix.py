"""The core loop under the newest SDK and some older ones; `make matrix` walks all of them.

Between them these three cover what differs: no tokens and plain JSON, JSON or protobuf with another transport under
MinT's patches, and protobuf only with sequence ids.
"""

import subprocess
from typing import Any

import pytest
from matrix import INSTALLED, MINT, minted, python_of, walk

ALWAYS = (INSTALLED, "tinker 0.16.1", "tinker 0.30.0", MINT)


@pytest.mark.parametrize("sdk", ALWAYS)
def test_every_public_method_passes_or_is_absent(sdk: str, llama_server: Any) -> None:
    try:
        python_of(sdk)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"{sdk} is not here and cannot be fetched")
    server, _ = llama_server
    found = walk(sdk, server.url, minted(server.url, server.key) if sdk == MINT else server.key)
    assert not found.failures(sdk)
    passed = sum(outcome == "pass" for outcome in found.results.values())
    assert passed >= {"tinker 0.16.1": 43, INSTALLED: 62}.get(sdk, 40)
    if sdk == INSTALLED:
        local = {"create", "get_telemetry", "on_queue_state_change"}
        assert {name.partition(".")[2] for name in found.untouched} <= local, "a method of the SDK that no step walks"
