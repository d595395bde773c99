"""PEFT folders for vLLM: what it would not know is refused by name, before it is asked, and the files are copied.

vLLM reads an adapter's folder again whenever the weights fell out of its memory, so the copy stays for as long as the
adapter is attached, and is another folder each time: its path is part of the names of cached keys and values.
"""

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any, Final, cast

from anubhav.errors import BadInput
from anubhav.types.ids import AdapterId

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_HEADER_BYTES: Final = 64 << 20
_FACTOR: Final = re.compile(r"base_model\.model\.([\w.]{1,200})\.lora_([AB])\.weight")
# fmt: off
_KNOWN: Final = frozenset({
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj", "gate_up_proj", "lm_head",
    "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj",
})
# fmt: on
"""The linear layers that vLLM adapts in the families it shares with us. Any other it would not find, or leave out."""
_PLAIN: Final = "Train it as plain LoRA, or sample with our own engine."
_serial: Final = itertools.count(1)


def copy_adapter(adapter: AdapterId, source: Path, home: Path, largest: int) -> Path:
    """The folder that vLLM reads it from. Raises BadInput when vLLM could not speak as this adapter does."""
    config = _read_config(source)
    shapes = _read_shapes(source)
    _check_config(config, largest)
    _check_shapes(shapes, largest)
    folder = home / f"{next(_serial)}-{re.sub(r'[^A-Za-z0-9_.-]', '_', adapter)[:80]}"
    folder.mkdir(parents=True)
    for name in (_CONFIG, _WEIGHTS):
        shutil.copyfile(source / name, folder / name)
    return folder


def _check_config(config: dict[str, Any], largest: int) -> None:
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none":
        raise BadInput("The adapter is not plain LoRA", hint=_PLAIN)
    for option in ("use_dora", "use_qalora", "use_bdlora", "lora_bias", "modules_to_save", "layer_replication"):
        if config.get(option):
            raise BadInput(f"The adapter uses {option}, which vLLM does not know", hint=_PLAIN)
    for rank in (config.get("r"), *cast(dict[str, Any], config.get("rank_pattern") or {}).values()):
        if not isinstance(rank, int) or rank < 1:
            raise BadInput("The adapter's ranks are not positive numbers", hint="Save it again with PEFT.")
        _check_rank(rank, largest)


def _check_shapes(shapes: dict[str, list[int]], largest: int) -> None:
    if not shapes:
        raise BadInput("The adapter has no LoRA factors", hint="Save it again with PEFT.")
    for name, shape in shapes.items():
        found = _FACTOR.fullmatch(name)
        module = found[1].split(".")[-1] if found else name
        if module not in _KNOWN:
            raise BadInput(f"The adapter holds {name[:200]}, which vLLM does not adapt", hint=_PLAIN)
        if found and len(shape) == 2:
            _check_rank(shape[found[2] == "B"], largest)


def _check_rank(rank: int, largest: int) -> None:
    if rank > largest:
        raise BadInput(
            f"The adapter has rank {rank}, and this engine was started for at most {largest}",
            hint="Start it for a higher rank.",
        )


def _read_config(source: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads((source / _CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise BadInput(f"The adapter has no readable {_CONFIG}", hint="Save it again with PEFT.") from problem
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def _read_shapes(source: Path) -> dict[str, list[int]]:
    """Of every tensor, from the file's header alone."""
    damaged = f"The adapter has no readable {_WEIGHTS}"
    try:
        with (source / _WEIGHTS).open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header: Any = json.loads(file.read(size)) if size <= _HEADER_BYTES else {}
        return {name: facts["shape"] for name, facts in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise BadInput(damaged, hint="Save it again with PEFT.") from problem
