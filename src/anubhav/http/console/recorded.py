"""What the rooms recorded or say in sentences, with figures in them: English at rest, shown in the visitor's language.

Each sentence is known by its template, and filled anew in the other language. What a person wrote, and errors, are
shown as they are.
"""

import re
from functools import cache

from anubhav.http.console.language import gettext, gettext_noop, visit

TEMPLATES = (
    # Verdicts, gates/judge.py and flows/auditing.py.
    gettext_noop("{suite} got worse: {why}"),
    gettext_noop("{suite} may have got worse: {why}"),
    gettext_noop("{suite} improved: {why}"),
    gettext_noop("{suite} is within chance or too little: {why}"),
    gettext_noop("{suite} has {count} items, too few to tell from chance"),
    gettext_noop("it forgot {lost} of the {held} repairs that the incumbent answers"),
    gettext_noop("{before} → {after} ({difference}, 95 % {low} to {high}, p {p})"),
    gettext_noop("no probe measures what this lap was to improve"),
    gettext_noop("this lap's level is {level}"),
    gettext_noop("{suite}: not judged, {why}"),
    gettext_noop("held-out raters have said too little"),
    gettext_noop("it agrees with {agreed} of {count} judgements of raters it never heard"),
    gettext_noop("none of the last {count} prompts is held out"),
    # Trials, flows/trying.py and releases/.
    gettext_noop("people like it less: {why}"),
    gettext_noop(
        "{mine} against {others} of {ours} and {theirs} people ({difference}, always valid 95 % {low} to {high})"
    ),
    gettext_noop("too few people judged both"),
    gettext_noop("{failed} of its {replies} replies failed, {others} of the release's {all}"),
    gettext_noop("its first word takes {slow} s, the release's {usual} s"),
    gettext_noop("it fails where the release does not: {why}"),
    gettext_noop("the critic expects people to like it less: {why}"),
    gettext_noop(
        "{count} prompts in the shadow: {failed} failed against {others}, the critic's {mine} against {theirs}"
        " ({difference}, 95 % {low} to {high})"
    ),
    gettext_noop("{count} prompts in the shadow: {failed} failed against {others}"),
    gettext_noop("{lap} brought a newer candidate"),
    gettext_noop("{lap} was released"),
    # Lift and what waits for a person, flows/trying.py and flows/overview.py.
    gettext_noop("nobody is held back: set a share to measure lift against"),
    gettext_noop("fewer than {count} people judged a reply on one of the sides"),
    gettext_noop("A candidate is tried out, in the shadow, unheard"),
    gettext_noop("A candidate is tried out, heard by {percent} % of the people"),
    gettext_noop("The reward model rings about {name}"),
    gettext_noop("{count} judgements wait to be learned from"),
    gettext_noop("The candidate was refused: {why}"),
    gettext_noop("The candidate was held back: {why}"),
    gettext_noop("{up} for it, {down} against it"),
    # Rests and ends of laps, flows/lessons.py and releases/laps.py.
    gettext_noop(
        "Sampler and trainer are {apart} nats a token apart on {alias}'s own answers, and {most} is the most at which"
        " rewards can be trusted. Look whether both have the same weights, precision and experts (docs/precision.md),"
        " then resume or cancel this lap."
    ),
    gettext_noop("an error of ours; the log says which"),
    gettext_noop("the server ended while it ran"),
    gettext_noop("the server stopped"),
    # Memory, memory/fitting.py, editing.py, keeper.py and shelf.py.
    gettext_noop("only what it puts on record"),
    gettext_noop("worth less than the room it takes"),
    gettext_noop("words taken out"),
    gettext_noop("nothing would be left that says something"),
    gettext_noop("written shorter by the model"),
    gettext_noop("the model's version {why}"),
    gettext_noop("was too long"),
    gettext_noop("lost most of what it said"),
    gettext_noop("names what was not there: {words}"),
    gettext_noop("a later statement took its place: {text}"),
    gettext_noop("edited by hand"),
    gettext_noop("pinned by hand"),
    gettext_noop("forgotten by hand"),
    gettext_noop("forgotten on request"),
    gettext_noop("what it said was forgotten"),
    # Traffic of a plan, cluster/planning/traffic.py.
    gettext_noop("frozen weights of a layer"),
    gettext_noop("frozen experts of a layer"),
    gettext_noop("tokens to their experts and back"),
    gettext_noop("sums of a block's parts"),
    gettext_noop("tokens and logits"),
    gettext_noop("heads of a sequence"),
    gettext_noop("hidden states between stages"),
    gettext_noop("gradients of the adapters"),
)
"""A longer one stands before a shorter one that it would fit as well. `why` is such a sentence again."""
_HOLE = re.compile(r"\{(\w+)\}")
_SENTENCES = ("why", "text", "words")
"""Holes that hold several words; the others hold a name or a figure."""


def recorded(text: str) -> str:
    """The text in the visitor's language, as far as its sentences are known."""
    if visit().language == "en":
        return text
    if (whole := _told(text)) is not None:
        return whole
    parts = text.split("; ")
    return "; ".join(_told(part) or part for part in parts)


def _told(text: str) -> str | None:
    for pattern, template in _patterns():
        if found := pattern.fullmatch(text):
            values = {name: recorded(value) if name == "why" else value for name, value in found.groupdict().items()}
            return gettext(template, **values)
    return None


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(_pattern(template), re.DOTALL), template) for template in TEMPLATES)


def _pattern(template: str) -> str:
    """With a group for each hole."""
    parts = _HOLE.split(template)
    for at in range(1, len(parts), 2):
        parts[at] = rf"(?P<{parts[at]}>{'.+' if parts[at] in _SENTENCES else '[^ ]+?'})"
    return "".join(part if at % 2 else re.escape(part) for at, part in enumerate(parts))
