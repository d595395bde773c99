"""`anubhav` as it runs after `pip install anubhav` alone: what the test environment adds cannot be imported."""

import re
import sys
from importlib.abc import MetaPathFinder
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from test_weight import closure, project_dependencies

from anubhav.cli import main


class Blocked(MetaPathFinder):
    def __init__(self) -> None:
        core = closure({Requirement(text).name for text in project_dependencies()} | {"anubhav"})
        owners = packages_distributions()
        self.names = {name for name, dists in owners.items() if core.isdisjoint(map(_plain, dists))}

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r} after a core install", name=fullname)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


blocked = Blocked()
assert {"numpy", "transformers", "tinker"} <= blocked.names
assert "numpy" not in sys.modules
sys.meta_path.insert(0, blocked)
main()
