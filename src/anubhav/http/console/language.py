"""The language of a page: what its visitor chose, else what the browser asks for. Texts are gettext's (web/texts)."""

import gettext as catalogs
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import polib
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

LANGUAGES = {"en": "English", "hi": "हिन्दी"}
"""What each calls itself. English is what the templates say, so it has no catalog."""
COOKIE = "language"
_TEXTS = files("anubhav").joinpath("web", "texts")
_YEAR = 365 * 86400


@dataclass(frozen=True, slots=True)
class Visit:
    language: str = "en"
    here: str = "/"
    """The page with its query: where the switch comes back to."""


_NOBODY = Visit()
_VISIT = ContextVar("visit", default=_NOBODY)


def greet(request: Request) -> Response | None:
    """Remember whom the page is for; the answer to a visitor who switches the language."""
    asked = request.query_params.get("language")
    url = request.url.remove_query_params("language")
    here = f"/{url.path.lstrip('/')}{'?' if url.query else ''}{url.query}"
    _VISIT.set(Visit(_wanted(request), here))
    if asked not in LANGUAGES:
        return None
    answer = RedirectResponse(here, 303)
    answer.set_cookie(COOKIE, asked, max_age=_YEAR, samesite="strict", path="/")
    return answer


def visit() -> Visit:
    return _VISIT.get()


def gettext(text: str, /, **values: Any) -> str:
    """Plain text in the visitor's language, its {placeholders} filled."""
    return _catalog(_VISIT.get().language).gettext(text).format(**values)


def gettext_noop(text: str) -> str:
    """Only marks it as a text: what shows it says it as a `word`."""
    return text


def word(text: str) -> str:
    """One of the house's own words, such as a state, if there is a text for it. It is not a format."""
    return _catalog(_VISIT.get().language).gettext(text) if text else ""


def ngettext(one: str, many: str, count: int) -> str:
    return _catalog(_VISIT.get().language).ngettext(one, many, count).format(count=count)


def markup(text: str, /, **values: Any) -> Markup:
    """For templates: the text may hold tags, what is put into it is escaped."""
    return Markup(_catalog(_VISIT.get().language).gettext(text)).format(**values)


def markup_many(one: str, many: str, count: int, /, **values: Any) -> Markup:
    return Markup(_catalog(_VISIT.get().language).ngettext(one, many, count)).format(count=count, **values)


@cache
def of_scripts(language: str) -> dict[str, str]:
    """The texts that scripts say, by their English."""
    found = () if language == "en" else _read(language)
    return {one.msgid: one.msgstr for one in found if any(file.endswith(".js") for file, _ in one.occurrences)}


def _wanted(request: Request) -> str:
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    parts = [part.strip().lower().partition(";q=") for part in request.headers.get("accept-language", "").split(",")]
    ranked = sorted((part for part in parts if _weight(part[2]) > 0), key=lambda part: -_weight(part[2]))
    return next((name for part in ranked if (name := part[0].partition("-")[0]) in LANGUAGES), "en")


def _weight(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0


@cache
def _catalog(language: str) -> catalogs.NullTranslations:
    if language == "en":
        return catalogs.NullTranslations()
    return catalogs.GNUTranslations(BytesIO(_read(language).to_binary()))


@cache
def _read(language: str) -> polib.POFile:
    return polib.pofile(_TEXTS.joinpath(f"{language}.po").read_text(encoding="utf-8"))
