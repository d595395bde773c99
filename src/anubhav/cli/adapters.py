"""`anubhav export` and `anubhav import`: checkpoints out of a running server into files others read, and back in."""

import json
import tempfile
from pathlib import Path
from typing import BinaryIO, Literal

import click

from anubhav.cli.models import takes_models_dir
from anubhav.cli.remote import Remote, takes_remote
from anubhav.errors import BadInput

Form = Literal["peft", "merged", "gguf"]


@click.command()
@click.argument("path", metavar="TINKER_PATH")
@click.option("--to", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="New, or empty.")
@click.option("--as", "form", type=click.Choice(["peft", "merged", "gguf"]), default="peft", show_default=True)
@click.option("--base", help="The base model here, where its name is not the server's: a name or a folder.")
@takes_models_dir
@takes_remote
def export(remote: Remote, path: str, *, to: Path, form: Form, base: str | None, models_dir: Path) -> None:
    """Write the checkpoint TINKER_PATH of the server into FOLDER.

    peft: adapter_config.json and adapter_model.safetensors. merged: a whole model folder, the adapter added to its
    base. gguf: adapter.gguf, for `llama-cli --lora`. The last two read the base model on this machine.
    """
    from anubhav.app import export_adapter
    from anubhav.catalog.library import Library
    from anubhav.types.checkpoints import parse_path

    parsed = parse_path(path)
    to = to.expanduser().absolute()
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadInput(f"{to} is not empty", hint="Name a new folder.")
    where = f"/v1/checkpoints/{parsed.run}/{parsed.kind}/{parsed.name}"
    served: str = remote.get(where)["base_model"]
    model = None if form == "peft" else Library(models_dir.expanduser().absolute()).find(base or served)
    to.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that it comes there whole or not at all.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=to.parent) as work:
        adapter, built = Path(work) / "adapter", Path(work) / "built"
        adapter.mkdir()
        built.mkdir()
        with tempfile.TemporaryFile(dir=work) as archive:
            remote.save(f"{where}/archive", archive)
            _unpack(archive, adapter, base or served)
        if model is not None and form != "peft":
            export_adapter(adapter, model, built, form=form)
        (built if model else adapter).rename(to)
    click.echo(f"{path} lies in {to} as {form}")


def _unpack(archive: BinaryIO, folder: Path, base: str) -> None:
    """PEFT's two files, and in them the name of the base, which only the server knows."""
    from anubhav.training.imports import CONFIG, FILES, unpack

    archive.seek(0)
    unpack(archive, folder)
    if any(not (folder / name).is_file() for name in FILES):
        raise BadInput("This checkpoint is encrypted for somebody", hint="Export one that is not external weights.")
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    (folder / CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": base}, indent=2), "utf-8")


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--base", required=True, metavar="MODEL", help="The base model, by the name the server serves it under.")
@click.option("--name", required=True, help="The checkpoint's name.")
@takes_remote
def import_adapter(remote: Remote, folder: Path, *, base: str, name: str) -> None:
    """Hand the server a LoRA adapter that PEFT has saved in FOLDER, and print the checkpoint it became.

    It can be sampled from, released, and trained further, with a fresh optimizer.
    """
    from anubhav.training.export import tar_gz
    from anubhav.training.imports import FILES

    if lacks := [file for file in FILES if not (folder / file).is_file()]:
        raise BadInput(f"{folder} lacks {' and '.join(lacks)}", hint="Save it with PEFT's save_pretrained.")
    with tempfile.TemporaryFile() as archive:
        archive.writelines(tar_gz(folder, FILES))
        archive.seek(0)
        made = remote.upload("/api/v1/checkpoints/upload", archive, base_model=base, name=name)
    click.echo(made["path"])
