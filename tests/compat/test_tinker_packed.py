"""Passes that the Tinker SDK compresses, which it does only when the server's flags say so."""

from typing import Any

import pytest
import tinker
import zstandard
from lessons_for_tinker import LESSON, MODEL, flags

pytestmark = pytest.mark.tinker_sdk


def passed(server: Any, count: int) -> tuple[dict[str, float], list[list[float]]]:
    with tinker.ServiceClient(base_url=server.url, api_key=server.key) as service:
        trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
        output = trainer.forward_backward([LESSON] * count, "cross_entropy").result()
        return output.metrics, [fields["logprobs"].tolist() for fields in output.loss_fn_outputs]


def test_a_packed_pass_is_the_pass(tinker_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []

    real = zstandard.ZstdCompressor

    class Counting:
        """Not a subclass: the collector crashes on those."""

        def compress(self, data: bytes) -> bytes:
            packed.append(len(data))
            return real().compress(data)

    monkeypatch.setattr(zstandard, "ZstdCompressor", Counting)
    plain = passed(tinker_server, 1100)
    assert not packed
    with flags(proto_compress_fwdbwd=True):
        assert passed(tinker_server, 1100) == plain
    assert len(packed) == 2, "more than 1024 datums are two requests"
