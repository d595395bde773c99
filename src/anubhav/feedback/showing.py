"""How notebooks show the objects of this library: a small table, every value escaped, and never a key."""

from collections.abc import Mapping
from html import escape
from urllib.parse import urlsplit


def card(title: str, rows: Mapping[str, str]) -> str:
    body = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{body}</tbody></table>"


def place(url: str) -> str:
    """An address without a name and password in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
