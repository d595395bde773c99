"""A conversation with a running server: what was said, the reply that comes, and judgements of the last one."""

import secrets
from collections.abc import Generator
from typing import Any

from anubhav.cli.remote import Remote

_NOTHING = "There is no whole reply yet."


class Talk:
    def __init__(self, remote: Remote, model: str, system: str | None = None, max_tokens: int | None = None) -> None:
        self._remote, self._model, self._max_tokens = remote, model, max_tokens
        self._first = [{"role": "system", "content": system}] if system else []
        self.forget()

    def forget(self) -> str:
        """Begin anew; says so."""
        self._messages: list[dict[str, str]] = list(self._first)
        self._session = f"terminal-{secrets.token_hex(8)}"
        self._last: str | None = None
        return "A new conversation."

    def ask(self, text: str) -> Generator[str]:
        """The reply in parts. One that is closed before its end leaves what was heard in the conversation."""
        self._messages.append({"role": "user", "content": text})
        self._last = None
        body: dict[str, Any] = {
            "model": self._model, "messages": self._messages, "stream": True, "session_id": self._session,
        }  # fmt: skip
        if self._max_tokens:
            body["max_tokens"] = self._max_tokens
        heard, name = "", None
        try:
            for event in self._remote.events("/v1/chat/completions", body):
                name = event["id"]
                part = event["choices"][0]["delta"].get("content") or "" if event["choices"] else ""
                heard += part
                yield part
            self._last = name
        finally:
            if heard or self._last:
                self._messages.append({"role": "assistant", "content": heard})
            else:
                self._messages.pop()

    def judge(self, kind: str, **said: Any) -> str:
        """Feedback on the last reply; says what came of it."""
        if self._last is None:
            return _NOTHING
        if kind == "correction" and not said["text"]:
            return "Say what it should have been: /correct TEXT"
        receipt = self._remote.post("/v1/feedback", {"target": self._last, "kind": kind, **said})
        return f"{receipt['status']}: {receipt['id']} on {receipt['episode']}"
