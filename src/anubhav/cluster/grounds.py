"""The nodes under a server's engines, for whoever looks after them: seen, left, and taken again."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from anubhav.backends.opening import Engine
from anubhav.errors import BadInput

if TYPE_CHECKING:
    from anubhav.cluster.remote.engine import RemoteEngine


class Grounds:
    def __init__(self, engines: Sequence[Engine], *, far: bool) -> None:
        """`far`: they are in a cluster, which they share."""
        self._engines, self._far = engines, far

    async def posts(self) -> list[Mapping[str, Any]]:
        """Where the engines are, and who lives of them."""
        return [row for engine in self._engines for row in await engine.look()]

    async def nodes(self) -> list[dict[str, Any]]:
        """None without a cluster."""
        if not self._far:
            return []
        from anubhav.cluster.remote.draining import survey

        return await survey(self._in_cluster())

    async def drain(self, node: str) -> dict[str, Any]:
        """Move everything away from the node, and put nothing there. Raises Unavailable when there is no room."""
        engines = self._in_cluster()
        from anubhav.cluster.remote.draining import drain

        return await drain(engines, node)

    async def undrain(self, node: str) -> dict[str, Any]:
        engines = self._in_cluster()
        from anubhav.cluster.remote.draining import undrain

        return await undrain(engines, node)

    def _in_cluster(self) -> "Sequence[RemoteEngine]":
        if not self._far:
            raise BadInput("This server has no cluster", hint="Start it with: anubhav serve --cluster ADDRESS.")
        return cast("Sequence[RemoteEngine]", self._engines)
