"""What is sent for each kind of judgement, and how a client's own objects name a reply."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from anubhav.errors import BadInput
from anubhav.feedback.showing import card

Json = dict[str, Any]
Reply = Any
"""A chat completion or any chunk of its stream, as the openai package has them; a mapping with an `id`; the id itself;
or (one of these, the number of a choice)."""
Side = Literal["a", "b"]


@dataclass(frozen=True, slots=True)
class Receipt:
    id: str
    episode: str
    """The reply that was judged."""
    status: str
    """accepted, or repeated when the same was said before."""

    def _repr_html_(self) -> str:
        return card("Feedback", {"reply": self.episode, "status": self.status, "id": self.id})


def target_of(reply: Reply) -> str:
    """`ep_…`, or `ep_…:2` for its third choice."""
    if isinstance(reply, tuple):
        return _choice_of(cast(tuple[Any, ...], reply))
    name: Any = cast(Mapping[str, Any], reply).get("id") if isinstance(reply, Mapping) else getattr(reply, "id", reply)
    if not isinstance(name, str) or not name:
        raise BadInput(
            f"A {type(cast(object, reply)).__name__} names no reply",
            hint="Give the chat completion, a chunk of it, or its id.",
        )
    return name


def _choice_of(pair: tuple[Any, ...]) -> str:
    choice = pair[1] if len(pair) == 2 else None
    if not isinstance(choice, int) or not 0 <= choice < 1000:
        raise BadInput("A choice is named by its reply and a number from 0", hint="Give (reply, 1) for its second.")
    return f"{target_of(pair[0])}:{choice}" if choice else target_of(pair[0])


def thumb(reply: Reply, up: object) -> Json:
    if not isinstance(up, bool):
        raise BadInput("up is True or False", hint="feedback.thumbs(reply, up=False)")
    return {"target": target_of(reply), "kind": "thumb", "value": up}


def rating(reply: Reply, value: float) -> Json:
    return {"target": target_of(reply), "kind": "rating", "value": _share(value)}


def correction(reply: Reply, text: str) -> Json:
    if not text.strip():
        raise BadInput("A correction needs its text", hint='feedback.correct(reply, "what it should say")')
    return {"target": target_of(reply), "kind": "correction", "text": text}


def comparison(a: Reply, b: Reply, better: str) -> Json:
    if better not in ("a", "b"):
        raise BadInput(f"The better one is 'a' or 'b', not {better!r}", hint='feedback.compare(one, other, "a")')
    won, lost = (a, b) if better == "a" else (b, a)
    return {"target": target_of(won), "kind": "comparison", "value": target_of(lost)}


def outcome(reply: Reply | None, session: str | None, name: str, value: float) -> Json:
    if (reply is None) == (session is None):
        raise BadInput("An outcome is of a reply or of a session", hint='feedback.outcome(session="…", name="…")')
    about = {"session": session} if reply is None else {"target": target_of(reply)}
    return {**about, "kind": "outcome", "text": name, "value": _share(value)}


def signed(body: Json, rater: str | None, name: str | None) -> Json:
    """With who judges and an id. Made of the content where none is given, it lets the same judgement count once,
    however often and from wherever it is sent."""
    body = body if rater is None else {**body, "rater": rater}
    content = json.dumps(body, sort_keys=True, ensure_ascii=False).encode()
    return {**body, "id": name or f"fbc_{hashlib.sha256(content).hexdigest()[:32]}"}


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise BadInput(f"The value {value} is not from 0 to 1", hint="Scale it: 4 of 5 stars are 0.8.")
    return float(value)
