"""The clients that can be launched: what each is started with, and what it needs of a model.

What their first requests take was measured on the wire (Claude Code 2.1, Codex 0.169, opencode 1.18): instructions and
descriptions of tools, before the user said a word.
"""

import json
import os
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_KEY = "ANUBHAV_API_KEY"


@dataclass(frozen=True, slots=True)
class Place:
    url: str
    key: str
    model: str
    context: int
    """Tokens that the model reads; 0: the server does not say."""


@dataclass(frozen=True, slots=True)
class Client:
    title: str
    command: tuple[str, ...]
    install: str
    first_request: int
    """Tokens, about."""
    variables: Callable[[Place], Mapping[str, str]]
    files: Callable[[Place], Mapping[str, str]] = lambda _: {}
    """Name → content, in a folder made for this start."""
    home: str = ""
    """The variable that names this folder."""
    unset: Sequence[str] = field(default=())
    """What the user may have exported for another server and would go before ours."""

    def environment(self, place: Place, folder: Path) -> dict[str, str]:
        """The user's own with what is needed on top; writes the files into `folder`."""
        for name, content in self.files(place).items():
            (folder / name).write_text(content, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if name not in self.unset}
        return kept | dict(self.variables(place)) | ({self.home: str(folder)} if self.home else {})

    def lines(self, place: Place) -> list[str]:
        """The same for a shell."""
        lines = [f"unset {' '.join(self.unset)}"] if self.unset else []
        lines += [f"export {name}={shlex.quote(value)}" for name, value in self.variables(place).items()]
        if self.home:
            lines.append(f'export {self.home}="$(mktemp -d)"')
        for name, content in self.files(place).items():
            lines += [f"cat > \"${self.home}/{name}\" <<'END'", content.rstrip("\n"), "END"]
        return [*lines, shlex.join(self.command)]


def _claude(place: Place) -> dict[str, str]:
    models = ("ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL")
    return {
        "ANTHROPIC_BASE_URL": place.url,
        "ANTHROPIC_AUTH_TOKEN": place.key,
        **dict.fromkeys((*models, "ANTHROPIC_DEFAULT_OPUS_MODEL"), place.model),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


def _codex_config(place: Place) -> dict[str, str]:
    # JSON's strings are TOML's.
    window = [f"model_context_window = {place.context}"] if place.context else []
    lines = [
        f"model = {json.dumps(place.model)}",
        'model_provider = "anubhav"',
        *window,
        "",
        "[model_providers.anubhav]",
        'name = "Anubhav"',
        f"base_url = {json.dumps(place.url + '/v1')}",
        f'env_key = "{_KEY}"',
        'wire_api = "responses"',
    ]
    return {"config.toml": "\n".join(lines) + "\n"}


def _opencode(place: Place) -> dict[str, str]:
    limit = {"limit": {"context": place.context, "output": max(1, place.context // 4)}} if place.context else {}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Anubhav",
        "options": {"baseURL": f"{place.url}/v1", "apiKey": f"{{env:{_KEY}}}"},
        "models": {place.model: {"name": place.model, **limit}},
    }
    name = f"anubhav/{place.model}"
    config = {"provider": {"anubhav": provider}, "model": name, "small_model": name, "autoupdate": False}
    return {_KEY: place.key, "OPENCODE_CONFIG_CONTENT": json.dumps(config), "OPENCODE_DISABLE_AUTOUPDATE": "1"}


def _open_webui(place: Place) -> dict[str, str]:
    return {
        "OPENAI_API_BASE_URL": f"{place.url}/v1",
        "OPENAI_API_KEY": place.key,
        "DEFAULT_MODELS": place.model,
        "ENABLE_OLLAMA_API": "False",
        # Its chats then are sessions here.
        "ENABLE_FORWARD_USER_INFO_HEADERS": "True",
        # What stands here counts now, and is not kept in its database for the next start.
        "ENABLE_PERSISTENT_CONFIG": "False",
        # Otherwise it writes a key into the folder it was started in.
        "WEBUI_SECRET_KEY": secrets.token_hex(16),
    }


CLIENTS = {
    "claude": Client(
        "Claude Code",
        ("claude",),
        "npm install -g @anthropic-ai/claude-code",
        20_000,
        _claude,
        unset=("ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"),
    ),
    "codex": Client(
        "Codex",
        ("codex",),
        "npm install -g @openai/codex",
        10_000,
        lambda place: {_KEY: place.key},
        _codex_config,
        home="CODEX_HOME",
    ),
    "opencode": Client("opencode", ("opencode",), "npm install -g opencode-ai", 8_000, _opencode),
    "open-webui": Client(
        "Open WebUI", ("open-webui", "serve", "--host", "127.0.0.1"), "pip install open-webui", 0, _open_webui
    ),
}
