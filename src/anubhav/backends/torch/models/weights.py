"""A model folder's tensors, looked up by name over all its safetensors files."""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from anubhav.errors import MissingPart


class Weights:
    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._files = [safe_open(file, framework="pt") for file in sorted(folder.glob("*.safetensors"))]  # pyright: ignore[reportUnknownVariableType]
        self._where = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118 - not a mapping
        self._device, self._dtype = device, dtype

    def __call__(self, name: str) -> Tensor:
        """Raises MissingPart when no file has it."""
        return self.exact(name).to(self._dtype)

    def exact(self, name: str) -> Tensor:
        """In the type it is stored in."""
        if name not in self._where:
            raise MissingPart(f"The model's files lack the tensor {name}", hint="Pull the model again.")
        return self._where[name].get_tensor(name).to(self._device)

    def together(self, *names: str) -> Tensor:
        return torch.cat([self(name) for name in names])

    def norm(self, name: str, shift: float, scale: float = 1.0) -> Tensor:
        """The weights of a norm, which lack `shift`, times `scale`: rounded once."""
        return ((self.exact(name).float() + shift) * scale).to(self._dtype)
