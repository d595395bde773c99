import struct
from pathlib import Path

import pytest
from gguf_writer import gguf_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anubhav.catalog.gguf import TensorInfo, read
from anubhav.errors import BadInput

METADATA = {"general.name": "tiné", "n": 7, "x": 0.5, "flag": True, "words": ["a", "bc"], "kinds": [1, -3]}
WHOLE = gguf_bytes(METADATA)


def test_reads_metadata_and_where_the_tensors_lie(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(WHOLE)
    gguf = read(path)
    assert gguf.metadata == METADATA
    (info,) = gguf.tensors
    assert info == TensorInfo("t", (3, 2), "F32", len(WHOLE) - 24, 24)
    assert struct.unpack_from("<6f", WHOLE, info.offset) == (1, 2, 3, 4, 5, 6)


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    for length in range(len(WHOLE)):
        path.write_bytes(WHOLE[:length])
        with pytest.raises(BadInput):
            read(path)


def test_a_tensor_beyond_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    for offset in (4, 2**40, 2**64 - 32):
        path.write_bytes(gguf_bytes(METADATA, offset))
        with pytest.raises(BadInput, match="beyond the end"):
            read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, len(WHOLE) - 1), bits=st.integers(1, 255))
def test_a_changed_byte_never_points_outside_the_file(tmp_path: Path, at: int, bits: int) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(WHOLE[:at] + bytes([WHOLE[at] ^ bits]) + WHOLE[at + 1 :])
    try:
        gguf = read(path)
    except BadInput:
        return
    assert all(info.offset + info.size <= len(WHOLE) for info in gguf.tensors)
