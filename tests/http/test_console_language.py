"""Every text of the pages has its Hindi, with the same placeholders and tags; the visitor's choice comes before the
browser's."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.frontend import CommandLineInterface
from babel.messages.pofile import read_po
from fastapi import Request

from anubhav.http.console import language
from anubhav.http.console.templates import render

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "src/anubhav/web"
HINDI = TEMPLATES / "texts/hi.po"
NAMES = {"Anubhav", "GB", "tml", "sk", "MinT", "Ctrl", "Tinker", "bfloat", "MB", "sd"}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """What templates, scripts and the pages' code say, gathered as `make texts` does."""
    to = tmp_path_factory.mktemp("texts") / "texts.pot"
    wanted = ["-q", "extract", "-F", str(ROOT / "pyproject.toml"), "-k", "gettext_noop", "-o", str(to)]
    CommandLineInterface().run(["pybabel", *wanted, str(ROOT / "src/anubhav")])
    return read_po(StringIO(to.read_text("utf-8")))


@pytest.fixture(scope="module")
def hindi() -> Catalog:
    return read_po(StringIO(HINDI.read_text("utf-8")))


@pytest.fixture(autouse=True)
def in_english() -> Iterator[None]:
    before = language.visit()
    yield
    language._VISIT.set(before)


def test_nothing_is_left_untranslated_and_nothing_is_left_over(said: Catalog, hindi: Catalog) -> None:
    assert {one.id for one in said} == {one.id for one in hindi}
    untranslated = [one.id for one in hindi if one.id and (not all(_forms(one)) or one.fuzzy)]
    assert not untranslated
    latin = [one.id for one in hindi if one.id and not re.search("[\u0900-\u097f]", "".join(_forms(one)))]
    assert not latin


def test_no_placeholder_or_tag_is_lost(hindi: Catalog) -> None:
    parts = re.compile(r"\{\w+\}|<[^>]+>|`[^`]+`|https?://\S+")
    found = [one for one in hindi if one.id]
    wrong = {
        str(english): form
        for one in found
        for english, form in zip(one.id if isinstance(one.id, tuple) else (one.id,), _forms(one), strict=True)
        if sorted(parts.findall(english)) != sorted(parts.findall(form))
    }
    assert not wrong
    assert len(found) > 80


@pytest.mark.parametrize(
    ("asked", "cookie", "wanted"),
    [
        ("", "", "en"),
        ("hi-IN,hi;q=0.9,en;q=0.8", "", "hi"),
        ("en-GB,en;q=0.9,hi;q=0.8", "", "en"),
        ("fr,hi;q=0.4,en;q=0.3", "", "hi"),
        ("hi;q=nonsense,en", "", "en"),
        ("hi;q=0", "", "en"),
        ("fr", "", "en"),
        ("hi", "language=en", "en"),
        ("en", "language=hi", "hi"),
        ("en", "language=tlh", "en"),
    ],
)
def test_the_choice_comes_before_the_browser(asked: str, cookie: str, wanted: str) -> None:
    assert language.greet(_request("/", "", asked, cookie)) is None
    assert language.visit().language == wanted


def test_a_switch_comes_back_to_the_page_with_what_it_was_asked() -> None:
    answer = language.greet(_request("/releases", "alias=shop&language=hi", "en", ""))
    assert answer is not None
    assert (answer.status_code, answer.headers["location"]) == (303, "/releases?alias=shop")
    assert "language=hi" in answer.headers["set-cookie"]
    assert language.greet(_request("//evil.example", "language=hi", "", "")).headers["location"] == "/evil.example"
    assert language.greet(_request("/", "language=tlh", "", "")) is None


def test_what_is_put_into_a_text_is_escaped() -> None:
    language.greet(_request("/", "", "hi", ""))
    assert language.markup("answers as {name}", name="<b>{0}</b>") == "&lt;b&gt;{0}&lt;/b&gt; के रूप में उत्तर देता है"
    assert language.word("{not} a format") == "{not} a format"
    assert language.ngettext("{count} hour ago", "{count} hours ago", 1) == "1 घंटा पहले"
    assert 'lang="hi"' in render("sign_in.html", problem="<script>")
    assert "&lt;script&gt;" in render("sign_in.html", problem="<script>")


def test_templates_say_nothing_but_texts() -> None:
    found = {}
    for page in sorted(TEMPLATES.glob("*.html")):
        parser = _Bare()
        parser.feed(re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", page.read_text("utf-8"), flags=re.DOTALL))
        if parser.found:
            found[page.name] = parser.found
    assert not found


class _Bare(HTMLParser):
    """Words between tags, and in the attributes that are read out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside.append(tag)
        for name, value in attrs:
            # JSON that is shown as an example is no text.
            if name in ("aria-label", "title", "placeholder", "alt") and value and value[0] not in "[{":
                self._look(value)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not {"code", "kbd"} & set(self.inside):
            self._look(data)

    def _look(self, text: str) -> None:
        self.found += [word for word in re.findall(r"[A-Za-z]{2,}", text) if word not in NAMES]


def _forms(one: Message) -> tuple[str, ...]:
    return one.string if isinstance(one.string, tuple) else (one.string,)


def _request(path: str, query: str, asked: str, cookie: str) -> Request:
    headers = [(b"accept-language", asked.encode()), (b"cookie", cookie.encode()), (b"host", b"127.0.0.1")]
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
        }
    )
