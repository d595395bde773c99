"""Tensors to a safetensors file. The library's own `safetensors.torch.save_file` needs numpy, which the core install
does not have.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors import TensorSpec, serialize_file
from torch import Tensor


def write_tensors(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Each in its own dtype."""
    # Kept until the file is written: a TensorSpec holds only an address.
    dense = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    specs = {
        name: TensorSpec(
            dtype=str(value.dtype).removeprefix("torch."),
            shape=list(value.shape),
            data_ptr=value.data_ptr(),
            data_len=value.nbytes,
        )
        for name, value in dense.items()
    }
    serialize_file(specs, file, dict(metadata))
