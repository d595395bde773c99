"""The whole of a Tinker SDK's public surface, walked once against the server of TINKER_BASE_URL with TINKER_API_KEY.

It runs under any SDK version in that version's own environment (`matrix.py` starts it there), so it imports nothing but
the SDK and torch, and prints one JSON object: `{"<Class>.<method>[ · <variant>]": "pass" | "absent" | <error>}`.
SDK_MODULE=mint takes the SDK from MinT's toolkit. A step asserts what a method gave, not only that it gave.
"""

import importlib
import inspect
import json
import sys
import traceback
from typing import Any

from walk import STEPS, Loop, tinker

for _steps in ("walk_training", "walk_serving"):
    importlib.import_module(_steps)

PASS, ABSENT = "pass", "absent"
MODULES = {
    "ServiceClient": "service_client",
    "TrainingClient": "training_client",
    "SamplingClient": "sampling_client",
    "RestClient": "rest_client",
}


def public_class(name: str) -> Any:
    return getattr(importlib.import_module(f"tinker.lib.public_interfaces.{MODULES[name]}"), name)


def has(label: str, argument: str) -> bool:
    owner, _, method = label.partition(" · ")[0].partition(".")
    if owner == "mint":
        return hasattr(tinker, "mint")
    found = getattr(public_class(owner), method, None)
    return found is not None and (not argument or argument in inspect.signature(inspect.unwrap(found)).parameters)


def walk() -> dict[str, str]:
    loop, told = Loop(), dict[str, str]()
    for label, argument, function in STEPS:
        if not has(label, argument):
            told[label] = ABSENT
            continue
        try:
            function(loop)
            told[label] = PASS
        except Exception as problem:  # noqa: BLE001 - every step is reported
            traceback.print_exc()
            line = traceback.extract_tb(problem.__traceback__)[-1]
            told[label] = f"{type(problem).__name__}: {problem} ({line.name}, {line.lineno})"[:500]
    return told


def untouched() -> list[str]:
    """Public methods that no step calls; the asynchronous twins are what the others call themselves."""
    touched = {label.partition(" · ")[0] for label, _, _ in STEPS}
    return [
        f"{owner}.{method}"
        for owner in MODULES
        for method, found in vars(public_class(owner)).items()
        if not method.startswith("_") and not method.endswith("_async") and callable(getattr(found, "__func__", found))
        if f"{owner}.{method}" not in touched
    ]


if __name__ == "__main__":
    results = walk()
    json.dump({"sdk": tinker.__version__, "results": results, "untouched": untouched()}, sys.stdout)
