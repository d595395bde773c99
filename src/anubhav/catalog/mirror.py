"""A read-only view of a model's tokenizer files, in the shape of the Hugging Face hub.

A client that sets HF_ENDPOINT to our server gets the tokenizer we serve with, and nothing else: no weights, no listing
of folders, no name that is not on the list here.
"""

import hashlib
from pathlib import Path
from typing import Any

from anubhav.types.models import Model

_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def listing(model: Model) -> dict[str, Any]:
    """What `GET /api/models/<name>` answers on the hub."""
    return {
        "id": model.name,
        "modelId": model.name,
        "sha": revision(model),
        "private": False,
        "gated": False,
        "disabled": False,
        "tags": [],
        "pipeline_tag": "text-generation",
        "library_name": "transformers",
        "siblings": [{"rfilename": name} for name in _FILES if file(model, name) is not None],
    }


def file(model: Model, name: str) -> Path | None:
    """The file of that name; None when it is absent or not for clients."""
    path = model.folder / name
    return path if name in _FILES and path.is_file() else None


def revision(model: Model) -> str:
    """40 hexadecimal digits that change when a file does, in place of a commit."""
    stats = [(name, path.stat()) for name in _FILES if (path := file(model, name)) is not None]
    return hashlib.sha256(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()).hexdigest()[
        :40
    ]
