"""Which public method of which SDK version passes here: `make matrix` walks them all and writes docs/compatibility.md.

Each version gets an environment of its own under `.venv/sdks/`, made once. The project's packages show through, so pip
fetches only the SDK and what it needs in another version: a second or two each. `core_loop.py` then runs in it.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv" / "sdks"
INSTALLED = "tinker 0.38.0"
OLDER = tuple(f"tinker {version}" for version in ("0.16.1", "0.18.2", "0.22.0", "0.22.7", "0.25.0", "0.30.0", "0.36.0"))
MINT = "mindlab-toolkit 0.2.0"
KNOWN: dict[tuple[str, str], str] = {}
"""(SDK, step) → why it does not pass: a bug of that version, or what is not built. Whatever else fails is an error."""


@dataclass(frozen=True)
class Walk:
    results: dict[str, str]
    untouched: list[str]

    def failures(self, sdk: str) -> dict[str, str]:
        """What neither passed, nor is absent, nor known; and what is known but passes after all."""
        return {
            label: outcome
            for label, outcome in self.results.items()
            if (outcome in ("pass", "absent")) == ((sdk, label) in KNOWN)
        }


def python_of(sdk: str) -> Path:
    """The interpreter that imports this SDK version. Its environment is made if it is not there."""
    if sdk == INSTALLED:
        return Path(sys.executable)
    name, _, version = sdk.partition(" ")
    home = ENVIRONMENTS / f"{name}-{version}"
    python, finished = home / "bin" / "python", home / "finished"
    if not finished.exists():
        run = [sys.executable, "-m", "venv", "--without-pip", "--clear", str(home)]
        subprocess.run(run, check=True)
        (packages,) = home.glob("lib/python*/site-packages")
        (packages / "project.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, f"{name}=={version}"], check=True, capture_output=True, timeout=300)
        finished.touch()
    return python


def walk(sdk: str, url: str, key: str) -> Walk:
    """The core loop under one SDK version against a server."""
    with tempfile.TemporaryDirectory() as folder:
        told = {
            "TINKER_BASE_URL": url,
            "TINKER_API_KEY": key,
            "MINT_BASE_URL": url,
            "MINT_API_KEY": key,
            "TINKER_PROJECT_ID": "a-project",
            "TINKER_TELEMETRY": "0",
            "SDK_MODULE": "mint" if sdk == MINT else "tinker",
            # Tokenizers come from the server too.
            "HF_ENDPOINT": url,
            "HF_HOME": folder,
        }
        script = Path(__file__).with_name("core_loop.py")
        done = subprocess.run(
            [str(python_of(sdk)), "-W", "ignore", str(script)],
            env=os.environ | told,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
        )
    if done.returncode or not done.stdout:
        raise RuntimeError(f"The core loop broke under {sdk}:\n{done.stderr[-3000:]}")
    told_back = json.loads(done.stdout.splitlines()[-1])
    return Walk(told_back["results"], told_back["untouched"])


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """(URL, operator's key) of `anubhav serve` over a tiny random model, with the real engine."""
    sys.path.insert(0, str(ROOT / "tests"))
    from tiny_llama import write_talking_llama

    write_talking_llama(folder / "tiny")
    command = [sys.executable, "-m", "anubhav", "serve", "--port", "0"]
    command += ["--data-dir", str(folder / "data"), "--model", str(folder / "tiny")]
    key = "tml-compatibility-matrix"
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"ANUBHAV_API_KEY": key}, bufsize=1
    )
    try:
        assert server.stdout is not None
        found = next((found for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line))), None)
        if found is None:
            raise RuntimeError("The server did not start; what it said is above.")
        yield found[0], key
    finally:
        server.terminate()
        server.communicate(timeout=60)


def minted(url: str, key: str) -> str:
    """A key for MinT's toolkit, as its users make one."""
    command = [sys.executable, "-m", "anubhav", "key", "create", "--tenant", "mint", "--prefix", "sk"]
    told = {"ANUBHAV_BASE_URL": url, "ANUBHAV_API_KEY": key}
    return subprocess.run(
        command, env=os.environ | told, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def page(walks: dict[str, Walk]) -> str:
    """docs/compatibility.md."""
    labels = list(next(iter(walks.values())).results)
    numbers = {excuse: number for number, excuse in enumerate(dict.fromkeys(KNOWN.values()), 1)}

    def cell(sdk: str, label: str) -> str:
        outcome = walks[sdk].results[label]
        if outcome in ("pass", "absent"):
            return {"pass": "✓", "absent": "–"}[outcome]
        return f"[{numbers[KNOWN[sdk, label]]}]" if (sdk, label) in KNOWN else "✗"

    counted = [f"{sum(outcome == 'pass' for outcome in walk.results.values())}" for walk in walks.values()]
    lines = [
        "# Compatibility",
        "",
        "Public methods of the unmodified SDKs, walked against `anubhav serve` with a tiny random model and the real",
        "engine (`tests/compat/core_loop.py`; every step checks what it got). Written by `make matrix`; the tests walk",
        "four of the columns on every run.",
        "",
        "✓ passes, – the version has no such method or argument, ✗ fails.",
        "",
        f"| | {' | '.join(walks)} |",
        f"|---|{'---|' * len(walks)}",
        *(f"| {label} | {' | '.join(cell(sdk, label) for sdk in walks)} |" for label in labels),
        f"| **passes** | {' | '.join(counted)} |",
        "",
        *(f"[{number}] {excuse}.\n" for excuse, number in numbers.items()),
        "The `_async` twins share the code of the methods above. Not walked by name, being local or called by others:",
        f"{', '.join(f'`{name}`' for name in walks[INSTALLED].untouched)}.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    walks: dict[str, Walk] = {}
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (url, key):
        for sdk in (*OLDER, INSTALLED, MINT):
            walks[sdk] = walk(sdk, url, minted(url, key) if sdk == MINT else key)
            failures = walks[sdk].failures(sdk)
            sys.stdout.write(f"{sdk}: {len(failures)} failures\n")
            sys.stdout.writelines(f"  {label}: {outcome}\n" for label, outcome in failures.items())
            sys.stdout.flush()
    (ROOT / "docs" / "compatibility.md").write_text(page(walks), encoding="utf-8")
    return int(any(walks[sdk].failures(sdk) for sdk in walks))


if __name__ == "__main__":
    raise SystemExit(main())
