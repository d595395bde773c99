"""An adapter in a form that others read: merged into its base, or as llama.cpp's adapter.gguf; here, or apart.

Apart from this process, as a server wants it, which goes on answering: the weights pass through another's memory.
"""

from pathlib import Path
from typing import Any, Literal

from anubhav.backends import apart
from anubhav.catalog.folders import write_manifest
from anubhav.types.models import Model

Form = Literal["merged", "gguf"]


def export_adapter(adapter: Path, base: Model, to: Path, *, form: Form) -> None:
    """Write the PEFT folder `adapter` into the folder `to`."""
    _write(_asked(adapter, base, to, form))


async def export_apart(adapter: Path, base: Model, to: Path, form: Form) -> None:
    """The same. Raises BadInput for what cannot be written so, Broken when it fails in another way."""
    await apart.ask(__name__, _asked(adapter, base, to, form))


def _asked(adapter: Path, base: Model, to: Path, form: Form) -> dict[str, str]:
    folders = {"adapter": str(adapter), "base": str(base.folder), "to": str(to)}
    return folders | {"form": form, "source": base.source, "licence": base.licence}


def _write(asked: dict[str, Any]) -> None:
    adapter, base, to = Path(asked["adapter"]), Path(asked["base"]), Path(asked["to"])
    # Both are imported here: whoever only asks for it does without torch.
    if asked["form"] == "gguf":
        from anubhav.backends.torch.files.gguf_adapter import write_gguf_adapter

        write_gguf_adapter(adapter, base, to / "adapter.gguf")
    else:
        from anubhav.backends.torch.files.merging import write_merged

        write_merged(adapter, base, to)
        write_manifest(to, f"{asked['source']}, with an adapter merged in", asked["licence"])


if __name__ == "__main__":
    apart.answer(_write)
