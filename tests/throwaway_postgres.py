"""A Postgres of the tests' own: made in a temporary folder, on a port of its own, and gone with it."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "sea-shell"


def _find(program: str) -> str | None:
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), reverse=True)
    return next((str(place) for place in kept), None) or shutil.which(program)


def _as_somebody() -> list[str]:
    """Postgres refuses to be root's."""
    if os.geteuid() != 0:
        return []
    somebody = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={somebody.pw_uid}", f"--regid={somebody.pw_gid}", "--clear-groups"]


class ThrowawayPostgres:
    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            somebody = pwd.getpwnam("nobody")
            for place in (folder, folder / "password"):
                os.chown(place, somebody.pw_uid, somebody.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        # Not in the order of bytes, as most databases are: the store has to see to its own order.
        order = ["--encoding=UTF8", "--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8"]
        account = ["--username=owner", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256"]
        subprocess.run(
            [*_as_somebody(), _find("initdb") or "", f"--pgdata={self._data}", "--no-sync", *account, *order],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self._folder}
        options |= {"shared_buffers": "16MB", "max_connections": 40}
        command = [*_as_somebody(), _find("postgres") or "", "-D", str(self._data)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        for _ in range(20):  # after a kill its children hold its memory for a moment
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
            if self._wait():
                return
        raise AssertionError((self._folder / "log").read_text()[-2000:])

    def _wait(self) -> bool:
        import psycopg

        while self._process.poll() is None:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        time.sleep(0.2)
        return False

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGQUIT)  # at once: nobody needs what is in it
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def url(self, name: str) -> str:
        return f"postgresql://owner:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def do(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.encode())

    def create(self, template: str = "template1") -> str:
        """A fresh database; its URL."""
        name = f"t{secrets.token_hex(6)}"
        self.do(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)


@contextmanager
def throwaway_postgres() -> Iterator[ThrowawayPostgres]:
    """Skips the test where there is no Postgres."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if _find("initdb") is None or _find("postgres") is None:
        pytest.skip("there is no Postgres here (initdb, postgres)")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = ThrowawayPostgres(folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
