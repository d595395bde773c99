"""Whether people's own agents work here: `make agents` starts Codex, Claude Code and opencode with `anubhav launch`.

Each has a server of its own over the table (their first requests are 10,000 tokens and more), behind a proxy that makes
the first answer a call of a harmless tool. An agent passes when it ends well, was answered nothing but 200s, and told
the tool's result. Names as arguments try these alone; `--shapes FOLDER` keeps what was sent, scrubbed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1]))

from fake_model import write_model  # noqa: E402
from recording import Exchange, Steer, recording  # noqa: E402
from scrubbing import Scrubber  # noqa: E402
from walk import ENVIRONMENTS, KEY, install_node, served  # noqa: E402

CONTEXT = 400_000
"""Tokens, which are bytes."""


@dataclass(frozen=True)
class Agent:
    package: str
    arguments: tuple[str, ...]
    tool: str
    choice: dict[str, Any]
    """As the agent's dialect says that the tool must be called."""


AGENTS = {
    "codex": Agent(
        "@openai/codex",
        ("exec", "--sandbox", "read-only", "--skip-git-repo-check", "Say hello."),
        "get_goal",
        {"type": "function", "name": "get_goal"},
    ),
    "claude": Agent(
        "@anthropic-ai/claude-code", ("-p", "Say hello."), "TaskList", {"type": "tool", "name": "TaskList"}
    ),
    "opencode": Agent(
        "opencode-ai", ("run", "Say hello."), "todowrite", {"type": "function", "function": {"name": "todowrite"}}
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agents", nargs="*", choices=[*AGENTS, []], help="which ones (default: all)")
    parser.add_argument("--shapes", type=Path, help="a folder for the shapes of what they sent")
    chosen = parser.parse_args()
    home = ENVIRONMENTS / "coding-agents"
    versions = install_node(home, [agent.package for agent in AGENTS.values()])
    wrong = {}
    with tempfile.TemporaryDirectory() as scratch:
        write_model(Path(scratch) / "tiny", context=CONTEXT)
        for name in chosen.agents or AGENTS:
            with served(str(Path(scratch) / "tiny")) as url, recording(url, calling(AGENTS[name])) as proxy:
                wrong[name] = attempt(name, proxy.url, home, Path(scratch) / name) or complaint(name, proxy.exchanges)
            version = versions[AGENTS[name].package]
            sys.stdout.write(f"{name} {version}: {wrong[name] or 'passes'}\n")
            if chosen.shapes:
                keep_shapes(chosen.shapes, name, version, proxy.exchanges)
    sys.exit(any(wrong.values()))


def calling(agent: Agent) -> Steer:
    """The first request that offers the tool is answered with a call of it."""
    done: list[bool] = []

    def steer(body: dict[str, Any]) -> dict[str, Any]:
        if done or f'"{agent.tool}"' not in json.dumps(body.get("tools")):
            return body
        done.append(True)
        # What thinks aloud may not be forced, in Anthropic's dialect.
        return {name: value for name, value in body.items() if name != "thinking"} | {"tool_choice": agent.choice}

    return steer


def attempt(name: str, url: str, home: Path, scratch: Path) -> str | None:
    """What went wrong as the agent sees it."""
    scratch.mkdir()
    folders = {one: str(scratch / one) for one in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    path = f"{home / 'node_modules' / '.bin'}:{os.environ['PATH']}"
    environment = {**os.environ, **folders, "PATH": path, "HOME": str(scratch)}
    environment |= {"ANUBHAV_BASE_URL": url, "ANUBHAV_API_KEY": KEY}
    command = [sys.executable, "-m", "anubhav", "launch", name, "--model", "tiny", "--", *AGENTS[name].arguments]
    (scratch / "work").mkdir()
    try:
        done = subprocess.run(
            command, env=environment, cwd=scratch / "work", stdin=subprocess.DEVNULL, capture_output=True, timeout=300
        )
    except subprocess.TimeoutExpired:
        return "does not end"
    if done.returncode:
        return f"exit status {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
    return None if done.stdout.strip() else "says nothing"


def complaint(name: str, exchanges: list[Exchange]) -> str | None:
    """What went wrong as the wire shows it."""
    posts = [one for one in exchanges if one.method == "POST"]
    for one in exchanges:
        if one.status >= 400 and one.method != "HEAD":
            return f"{one.method} {one.path} was answered {one.status}: {one.answer[:300]!r}"
        if not one.ended:
            return f"{one.method} {one.path} was left before its end"
    told = json.dumps([one.body for one in posts])
    return None if re.search(r"function_call_output|tool_result|\"tool\"", told) else "told no result of its tool"


def keep_shapes(folder: Path, name: str, version: str, exchanges: list[Exchange]) -> None:
    scrubber = Scrubber()
    posts = [one for one in exchanges if one.method == "POST"]
    for number, one in enumerate(posts, 1):
        shape = {
            "client": f"{name} {version}",
            "path": one.path,
            "headers": scrubber.headers(one.headers),
            "body": scrubber.body(one.body),
        }
        (folder / f"{name}-{number}.json").write_text(json.dumps(shape, indent=1) + "\n")


if __name__ == "__main__":
    main()
