"""What `pip install anubhav` puts beside torch stays small."""

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

LIMIT = 80_000_000


def closure(names: set[str]) -> set[str]:
    """The distributions that these need here, without extras."""
    seen: set[str] = set()
    queue = list(names)
    while queue:
        name = re.sub(r"[-_.]+", "-", queue.pop()).lower()
        if name in seen:
            continue
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue
        seen.add(name)
        queue += [requirement.name for text in needed if wanted(requirement := Requirement(text))]
    return seen


def wanted(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**default_environment(), "extra": ""})


def size(found: Distribution) -> int:
    paths = [Path(str(found.locate_file(file))) for file in found.files or []]
    return sum(path.stat().st_size for path in paths if path.is_file())


def test_the_core_install_beside_torch_is_at_most_80_mb() -> None:
    needed = {Requirement(text).name for text in project_dependencies()}
    core = closure(needed) - closure({"torch"})
    sizes = {name: size(distribution(name)) for name in core}
    assert {"fastapi", "tokenizers", "click", "protobuf"} <= set(sizes)
    total = sum(sizes.values())
    assert total <= LIMIT, sorted(sizes.items(), key=lambda item: -item[1])[:10]


def project_dependencies() -> list[str]:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    return tomllib.loads(text)["project"]["dependencies"]
