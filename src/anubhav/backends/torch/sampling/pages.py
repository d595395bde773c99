"""Who holds which page of the key-value cache, and which full pages can be read again. Numbers only, no tensors.

A full page is known by a chain of hashes over everything up to its end, beginning with a salt that names whose it is:
the keys of a token depend on all tokens before it and on the adapter that read them. Pages that nobody holds stay known
until their place is needed, those unused for longest first.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

PAGE: Final = 16
"""Tokens of a page. The kernels count on it."""


class Pages:
    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count - 1, -1, -1))
        self._holders = [0] * count
        self._known: dict[bytes, int] = {}
        self._names: dict[int, bytes] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Known pages that nobody holds, those left first in front."""

    @property
    def room(self) -> int:
        """How many pages can be taken."""
        return len(self._free) + len(self._idle)

    def take(self) -> int | None:
        """A page of one's own, with unknown content; None when all are held."""
        if self._free:
            page = self._free.pop()
        elif self._idle:
            page, _ = self._idle.popitem(last=False)
            del self._known[self._names.pop(page)]
        else:
            return None
        self._holders[page] = 1
        return page

    def share(self, page: int) -> None:
        """Hold a page that somebody holds already, or that `find` gave."""
        self._holders[page] += 1
        self._idle.pop(page, None)

    def let_go(self, pages: Sequence[int]) -> None:
        """The end of a text goes first: its beginning is likelier to be read again."""
        for page in reversed(pages):
            self._holders[page] -= 1
            if self._holders[page]:
                continue
            if page in self._names:
                self._idle[page] = None
            else:
                self._free.append(page)

    def name(self, page: int, name: bytes) -> None:
        """Make a full page known, unless another one is by this name."""
        if name not in self._known and page not in self._names:
            self._known[name], self._names[page] = page, name

    def find(self, names: Sequence[bytes]) -> list[int]:
        """The pages of the longest beginning that is known, each held once more."""
        found: list[int] = []
        for name in names:
            page = self._known.get(name)
            if page is None:
                break
            self.share(page)
            found.append(page)
        return found

    def forget(self) -> None:
        """Nothing is known any more: what the pages hold is not to be trusted."""
        self._free.extend(self._idle)
        self._idle.clear()
        self._known.clear()
        self._names.clear()


def names_of(tokens: Sequence[int], before: bytes, start: int = 0) -> list[bytes]:
    """The names of the full pages of `tokens[start:]`; `before` is the name of the page before them, or the salt."""
    names: list[bytes] = []
    for end in range(start + PAGE, len(tokens) + 1, PAGE):
        before = hashlib.blake2b(before + array("q", tokens[end - PAGE : end]).tobytes(), digest_size=16).digest()
        names.append(before)
    return names


def pages_for(tokens: int) -> int:
    return -(-tokens // PAGE)
