"""Who computes a model: our own layers where its family is one of ours, else transformers' modules, more slowly."""

import json
import logging
from importlib.util import find_spec
from pathlib import Path

import torch

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.families import FAMILIES, read_config
from anubhav.backends.torch.models.model import Model
from anubhav.errors import BadInput

log = logging.getLogger(__name__)


def open_model(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Decoder:
    """Raises BadInput for what neither computes, MissingPart where that takes transformers and it is not here."""
    if _is_ours(folder):
        return Model(folder, device=device, dtype=dtype)
    # Imported here: transformers takes seconds, and only this needs it.
    from anubhav.backends.torch.models.foreign import ForeignModel

    model = ForeignModel(folder, device=device, dtype=dtype)
    log.warning("%s is computed by transformers, slower than the families of our own", model.config.architecture)
    return model


def read_shape(folder: Path) -> ModelConfig:
    """What `open_model` would make its configuration, without the weights."""
    if _is_ours(folder):
        return read_config(folder)
    from anubhav.backends.torch.models.foreign_shape import read_foreign

    return read_foreign(folder)


def _is_ours(folder: Path) -> bool:
    """Raises BadInput for an option of our own families that we do not compute, where there is no transformers."""
    raw = json.loads((folder / "config.json").read_text())
    if (raw.get("architectures") or ["?"])[0] not in FAMILIES:
        return False
    try:
        read_config(folder)
    except BadInput:
        if find_spec("transformers"):
            return False
        raise
    return True
