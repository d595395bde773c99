"""A running server, as the commands that need one see it: JSON in, JSON out, every failure a typed error."""

import functools
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from anubhav.cli.failures import ServerRefused, Unreachable
from anubhav.settings import DEFAULT_URL, default_data_dir, find_key

if TYPE_CHECKING:
    import httpx2

_PATIENCE = 600.0
"""Seconds for the next event: a long prompt takes a CPU minutes."""


class Remote:
    def __init__(self, url: str, key: str, data_dir: Path = Path(), *, timeout: float = 60.0) -> None:
        """`data_dir`: where the server's data would lie on this machine."""
        # Imported here: `anubhav --help` needs no HTTP client.
        import httpx2

        self.url = url.rstrip("/")
        self.key, self.data_dir = key, data_dir
        # No proxy and no .netrc: the key goes to this address and nowhere else.
        self._client = httpx2.Client(
            base_url=self.url, headers={"x-api-key": key}, timeout=timeout, trust_env=False, follow_redirects=False
        )
        self._refusals = (httpx2.HTTPError, httpx2.InvalidURL)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **query: str | int) -> Any:
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Any) -> Any:
        return self._call("POST", path, json=body)

    def post_patiently(self, path: str, body: Any) -> Any:
        """For what takes as long as loading a model."""
        return self._call("POST", path, json=body, timeout=_PATIENCE)

    def put(self, path: str, body: Any) -> Any:
        return self._call("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        return self._call("PATCH", path, json=body)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def upload(self, path: str, file: BinaryIO, **fields: str) -> Any:
        """Send a file as a form does, with fields beside it."""
        return self._call("POST", path, files={"file": ("adapter.tar.gz", file, "application/gzip")}, data=fields)

    def save(self, path: str, to: BinaryIO, **query: str | int) -> None:
        """Write what the server streams into a file."""
        with self._reached(), self._client.stream("GET", path, params=query) as response:
            if not response.is_success:
                response.read()
                raise _refusal(response.status_code, _json(response), path)
            for part in response.iter_bytes():
                to.write(part)

    def events(self, path: str, body: Any) -> Generator[Any]:
        """What the server sends as events, as they come. Closing it tells the server that no more is wanted."""
        with self._reached(), self._client.stream("POST", path, json=body, timeout=_PATIENCE) as response:
            if not response.is_success:
                response.read()
                raise _refusal(response.status_code, _json(response), path)
            for line in response.iter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    raise _refusal(500, event, path)
                yield event

    def _call(self, method: str, path: str, **content: Any) -> Any:
        """Raises Unreachable when nobody answers, ServerRefused with the server's own words."""
        with self._reached():
            response = self._client.request(method, path, **content)
        answer = _json(response)
        if response.is_success:
            return answer
        raise _refusal(response.status_code, answer, path)

    @contextmanager
    def _reached(self) -> Generator[None]:
        try:
            yield
        except self._refusals as problem:
            raise Unreachable(
                f"No Anubhav server answers at {self.url} ({type(problem).__name__})",
                hint="Start one with: anubhav serve    or name another with --url or ANUBHAV_BASE_URL.",
            ) from problem


def _json(response: "httpx2.Response") -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _refusal(status: int, answer: Any, path: str) -> ServerRefused:
    known = cast(dict[str, Any], answer) if isinstance(answer, dict) else {}
    error: dict[str, Any] = known.get("error") or {}
    message = str(error.get("message") or f"The server answered {status} to {path}")
    hint = str(error.get("hint") or "")
    if status == 401:
        hint = "Set ANUBHAV_API_KEY, or name the server's data folder with --data-dir."
    return ServerRefused(
        message.removesuffix(hint).rstrip(" ."), hint=f"{hint} (request {known.get('request_id', 'unknown')})".strip()
    )


def takes_remote(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --url and --data-dir to a command and hands it a Remote first."""

    @click.option("--url", envvar="ANUBHAV_BASE_URL", default=DEFAULT_URL, show_default=True, help="Where it runs.")
    @click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=default_data_dir,
        help="The server's data folder, for its API key; ANUBHAV_API_KEY goes before it.",
    )
    @functools.wraps(command)
    def with_remote(*args: Any, url: str, data_dir: Path, **options: Any) -> Any:
        remote = Remote(url, find_key(data_dir) or "", data_dir)
        try:
            return command(remote, *args, **options)
        finally:
            remote.close()

    return with_remote
