"""Tensors of Tinker's wire, protobuf and JSON, to `types.arrays` and back. Sparse ones become dense, padded with 0."""

import array
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from anubhav.errors import BadInput, TooLarge
from anubhav.http.tinker import wire_pb2 as wire
from anubhav.types.arrays import Array, Dtype

_MAX_CELLS = 1 << 24
_HINT = "Send packed little-endian values that fit the shape."
_DTYPES: dict[int, Dtype] = {wire.DTYPE_FLOAT32: "float32", wire.DTYPE_INT64: "int64"}
_CODES: dict[Dtype, Literal["f", "q", "i"]] = {"float32": "f", "int64": "q", "int32": "i"}


def read_tensor(tensor: wire.Tensor) -> Array:
    """Raises BadInput for another dtype or bytes that do not fit the shape."""
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise BadInput("A tensor has a dtype this server does not read", hint="Send float32 or int64.")
    shape = tuple(tensor.shape)
    if not tensor.HasField("sparse_csr"):
        return packed(dtype, shape, tensor.dense)
    sparse = tensor.sparse_csr
    values = unpack(_CODES[dtype], sparse.values)
    return densify(dtype, shape, values, unpack("q", sparse.crow_indices), unpack("q", sparse.col_indices))


def read_values(
    dtype: Dtype,
    values: Sequence[float],
    shape: Sequence[int] | None,
    rows: list[int] | None,
    columns: list[int] | None,
) -> Array:
    """The JSON form: flat values, and the CSR indices when it is sparse."""
    try:
        data: array.array[Any] = array.array(_CODES[dtype], values)
    except (TypeError, OverflowError) as problem:
        raise BadInput(f"A tensor's values are not {dtype}", hint="Send numbers of the dtype you name.") from problem
    if rows is None and columns is None:
        return packed(dtype, tuple(shape or ()), data.tobytes())
    return densify(dtype, tuple(shape or ()), data, rows or [], columns or [])


def packed(dtype: Dtype, shape: tuple[int, ...], data: bytes) -> Array:
    """One-dimensional when there is no shape."""
    if any(size < 0 for size in shape):
        raise BadInput("A tensor's shape has a negative size", hint=_HINT)
    width = array.array(_CODES[dtype]).itemsize
    try:
        return Array(dtype, shape or (len(data) // width,), data)
    except ValueError as problem:
        raise BadInput(f"A tensor's values do not fit its shape: {problem}", hint=_HINT) from problem


def unpack(code: Literal["f", "q", "i"], data: bytes) -> "array.array[Any]":
    values: array.array[Any] = array.array(code)
    if len(data) % values.itemsize:
        raise BadInput("Packed values end in the middle of one", hint=_HINT)
    values.frombytes(data)
    return values


def densify(
    dtype: Dtype, shape: tuple[int, ...], values: Sequence[float], rows: Sequence[int], columns: Sequence[int]
) -> Array:
    """A CSR matrix with every unlisted cell 0; raises BadInput unless the indices describe one."""
    if len(shape) != 2 or min(shape) < 0 or len(rows) != shape[0] + 1 or len(values) != len(columns):
        raise BadInput("A sparse tensor's indices do not fit its shape", hint="Send a two-dimensional CSR tensor.")
    if math.prod(shape) > _MAX_CELLS:
        raise TooLarge(f"A sparse tensor has more than {_MAX_CELLS} cells", hint="Split the data.")
    dense: array.array[Any] = array.array(_CODES[dtype], bytes(math.prod(shape) * array.array(_CODES[dtype]).itemsize))
    for row, column, value in zip(_row_numbers(rows, len(values)), columns, values, strict=True):
        if not 0 <= column < shape[1]:
            raise BadInput("A sparse tensor has a column outside its shape", hint="Check sparse_col_indices.")
        dense[row * shape[1] + column] = value
    return Array(dtype, shape, dense.tobytes())


def _row_numbers(rows: Sequence[int], count: int) -> Iterator[int]:
    spans = list(itertools.pairwise(rows))
    if rows[0] != 0 or rows[-1] != count or any(end < start for start, end in spans):
        raise BadInput("A sparse tensor's row pointers do not rise from 0 to its size", hint="Send valid CSR.")
    return (row for row, (start, end) in enumerate(spans) for _ in range(start, end))
