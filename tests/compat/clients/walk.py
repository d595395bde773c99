"""Which clients pass here: `make clients` tries the stock ones against `anubhav serve` with the embedded model, each in
an environment of its own under `.venv/clients/`, and writes docs/clients.md. Names as arguments try these alone.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anubhav.app import pull_model
from anubhav.settings import default_models_dir

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ENVIRONMENTS = ROOT / ".venv" / "clients"
MODEL = "smollm2-135m-instruct"
KEY = "tml-clients-0123456789abcdef"
PAGE = ROOT / "docs" / "clients.md"
_HEAD = f"""# Clients

Stock clients, unmodified, each in an environment of its own, against `anubhav serve` with {MODEL}. Only the address,
the key and the model's name are ours. Written by `make clients` (tests/compat/clients/); every case checks what the
client itself makes of the answer.

✓ passes, ✗ fails (the reason stands below). Figures that a case measures stand below as well.

| client | {{capabilities}} |
|---|{{rule}}|
"""


@dataclass(frozen=True)
class Walked:
    client: str
    versions: str
    results: dict[str, str | None]
    """Capability → what went wrong."""
    figures: dict[str, str] = field(default_factory=dict)
    """Capability → what was measured, where a case tells."""


def main() -> None:
    clients = tomllib.loads((HERE / "clients.toml").read_text())
    wanted = sys.argv[1:] or list(clients)
    with served() as url:
        walks = [walk(name, clients[name], url) for name in wanted]
    if not sys.argv[1:]:
        PAGE.write_text(page(walks))
    sys.exit(any(wrong for one in walks for wrong in one.results.values()))


def walk(name: str, client: dict[str, Any], url: str) -> Walked:
    home = ENVIRONMENTS / re.sub(r"\W+", "-", name.lower())
    if "npm" in client:
        command, versions = make_node(home, client["npm"], client["script"])
    else:
        command, versions = make_python(home, client["install"], client["script"])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI"))}
    folder = pull_model(MODEL, default_models_dir(), lambda line: None).folder
    environment |= {"ANUBHAV_URL": url, "ANUBHAV_API_KEY": KEY, "ANUBHAV_MODEL": MODEL, "OPENAI_API_KEY": KEY}
    environment |= {"ANUBHAV_MODEL_FOLDER": str(folder)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=home, timeout=1200)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"capability"')]
    results = {one["capability"]: one["wrong"] for one in told}
    figures = {one["capability"]: one["figure"] for one in told if one.get("figure")}
    if done.returncode or not results:
        results["start"] = f"exit status {done.returncode}"
    for capability, wrong in results.items():
        sys.stdout.write(f"{name}: {capability}: {wrong or figures.get(capability, 'ok')}\n")
    sys.stdout.flush()
    return Walked(name, versions, results, figures)


def make_python(home: Path, install: list[str], script: str) -> tuple[list[str], str]:
    """The environment is made if it is not there."""
    python, finished = home / "bin" / "python", home / "finished"
    if not finished.exists() or finished.read_text() != "\n".join(install):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(home)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
        subprocess.run([*pip, "--disable-pip-version-check", *install], check=True)
        finished.write_text("\n".join(install))
    names = [re.split(r"[=\[]", one)[0] for one in install]
    code = "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    told = subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True)
    return [str(python), str(HERE / script)], told.stdout.strip()


def make_node(home: Path, install: list[str], script: str) -> tuple[list[str], str]:
    versions = install_node(home, [one.rpartition("@")[0] for one in install], install)
    for file in (script, "cases.mjs"):
        (home / file).write_text((HERE / file).read_text())
    return ["node", str(home / script)], ", ".join(f"{name} {version}" for name, version in versions.items())


def install_node(home: Path, names: list[str], install: list[str] | None = None) -> dict[str, str]:
    """Package → version, once they are there; `install`: the same with the versions that are wanted."""
    wanted, finished = install or names, home / "finished"
    if not finished.exists() or finished.read_text() != "\n".join(wanted):
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", *wanted], cwd=home, check=True)
        finished.write_text("\n".join(wanted))
    folder = home / "node_modules"
    return {name: json.loads((folder / name / "package.json").read_text())["version"] for name in names}


@contextmanager
def served(model: str = MODEL) -> Iterator[str]:
    """A server of its own, with nothing of ours in its data folder but the model."""
    command = [sys.executable, "-m", "anubhav", "serve", "--port", "0", "--model", model]
    with tempfile.TemporaryDirectory() as data:
        process = subprocess.Popen(
            [*command, "--data-dir", data],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "ANUBHAV_API_KEY": KEY},
        )
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if "The console" in line)
            yield line.split()[2].partition("/?")[0]
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


def page(walks: list[Walked]) -> str:
    capabilities = list(dict.fromkeys(name for one in walks for name in one.results))
    rows = [
        f"| {one.versions} | "
        + " | ".join("" if name not in one.results else "✗" if one.results[name] else "✓" for name in capabilities)
        + " |"
        for one in walks
    ]
    wrong = [f"- {one.client}, {name}: {why}" for one in walks for name, why in one.results.items() if why]
    told = [f"- {one.client}, {name}: {figure}." for one in walks for name, figure in one.figures.items()]
    below = "".join("\n" + "\n".join(lines) + "\n" for lines in (wrong, told) if lines)
    head = _HEAD.format(capabilities=" | ".join(capabilities), rule="---|" * len(capabilities))
    return head.replace("||\n", "|\n") + "\n".join(rows) + "\n" + below


if __name__ == "__main__":
    main()
