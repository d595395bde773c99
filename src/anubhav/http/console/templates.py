"""The pages' templates and files, and the headers that keep a page from running or loading anything but them."""

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from minijinja import Environment

from anubhav.http.console.language import LANGUAGES, markup, markup_many, of_scripts, visit, word
from anubhav.http.console.recorded import recorded
from anubhav.http.console.words import ago, breakable, clock, moment

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
KINDS = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_WEB = files("anubhav").joinpath("web")


def render(page: str, **context: Any) -> str:
    """In the language of the visit."""
    here, texts = visit(), of_scripts(visit().language)
    switch = f"{here.here}{'&' if '?' in here.here else '?'}"
    carried = json.dumps(texts, ensure_ascii=False) if texts else ""
    return _environment().render_template(page, language=here.language, switch=switch, texts=carried, **context)


@cache
def static(name: str) -> tuple[bytes, str, str] | None:
    """A file's content, its type and a tag that changes with it; None for what is not there."""
    if name not in _names():
        return None
    content = _WEB.joinpath("static", name).read_bytes()
    return content, KINDS[name.rpartition(".")[2]], f'"{hashlib.sha256(content).hexdigest()[:16]}"'


@cache
def _names() -> frozenset[str]:
    return frozenset(one.name for one in _WEB.joinpath("static").iterdir())


@cache
def _environment() -> Environment:
    templates = {one.name: one.read_text(encoding="utf-8") for one in _WEB.iterdir() if one.name.endswith(".html")}
    # Everything that is put into a page is escaped.
    return Environment(
        templates=templates,
        auto_escape_callback=lambda name: "html",
        filters={"moment": moment, "ago": ago, "clock": clock, "breakable": breakable, "recorded": recorded},
        globals={"_": markup, "ngettext": markup_many, "word": word, "languages": LANGUAGES},
    )
