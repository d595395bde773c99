"""Fetches a model folder from the Hugging Face hub: safetensors and text files of one pinned commit, never code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from anubhav.catalog.folders import check_config, read_object
from anubhav.errors import AnubhavError, MissingPart, NotAllowed, NotFound

_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model", "LICENSE*"]


def fetch_folder(repository: str, folder: Path, report: Callable[[str], None]) -> str:
    """Download `<org>/<name>` into `folder` and return its licence. Refuses what we cannot load before the weights.

    Raises NotFound, NotAllowed for a gated repository, MissingPart without network, BadInput for a refused model.
    """
    # Imported here: it takes a third of a second, and only this needs it.
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        report(f"Looking up {repository} on the Hugging Face hub")
        hub: Any = HfApi()
        known = hub.model_info(repository)
        hub.snapshot_download(repository, revision=known.sha, local_dir=folder, allow_patterns=["config.json"])
        check_config(read_object(folder / "config.json"))
        report(f"Downloading {repository} at {known.sha}")
        hub.snapshot_download(repository, revision=known.sha, local_dir=folder, allow_patterns=_WANTED)
    except AnubhavError:
        raise
    except GatedRepoError as error:
        raise NotAllowed(
            f"{repository} is gated: its owner wants you to accept a licence first",
            hint=f"Accept it at https://huggingface.co/{repository}, then type: hf auth login",
        ) from error
    except RepositoryNotFoundError as error:
        raise NotFound(
            f"The hub has no model {repository}", hint="Check the spelling: hf:<organisation>/<name>."
        ) from error
    except Exception as error:
        raise MissingPart(
            f"{repository} could not be downloaded: {type(error).__name__}: {str(error)[:200]}",
            hint=f"Check the network and HF_ENDPOINT, then type: anubhav models pull hf:{repository}",
        ) from error
    return str(getattr(known.card_data, "license", None) or "not stated")
