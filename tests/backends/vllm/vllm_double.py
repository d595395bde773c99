"""What the tests of this room say to and ask of the double."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from anubhav.backends.vllm.launch import socket_of
from anubhav.backends.vllm.sampler import VllmSampler

VOCAB, CONTEXT = 48, 64
Start = Callable[..., VllmSampler]
Saved = Callable[..., Path]


def state(sampler: VllmSampler) -> dict[str, Any]:
    """What the double says of itself."""
    return tell(sampler, "/state").json()


def tell(sampler: VllmSampler, path: str) -> httpx2.Response:
    transport = httpx2.HTTPTransport(uds=str(socket_of(sampler.server.home)))
    with httpx2.Client(transport=transport, base_url="http://vllm") as client:
        return client.get(path, timeout=10)
