"""How the pages word times, texts and judgements."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from markupsafe import Markup, escape

from anubhav.flows.trying import Lift
from anubhav.http.console.language import gettext, ngettext
from anubhav.releases.laps import WHY
from anubhav.types.experience import Episode, Feedback, Lap

Json = dict[str, Any]


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def clock(seconds: float) -> str:
    """For machines."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def ago(seconds: float) -> str:
    away = datetime.now(UTC).timestamp() - seconds
    days, hours, minutes = int(away // 86_400), int(away // 3600), int(away // 60)
    if days >= 1:
        return ngettext("{count} day ago", "{count} days ago", days)
    if hours >= 1:
        return ngettext("{count} hour ago", "{count} hours ago", hours)
    if minutes >= 1:
        return ngettext("{count} minute ago", "{count} minutes ago", minutes)
    return gettext("just now")


def breakable(text: str) -> Markup:
    """A path, which a narrow place may break behind its slashes rather than within its words."""
    return escape(text).replace("/", Markup("/<wbr>"))


def cut(text: str, width: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def size(count: int) -> str:
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} B"


def took(seconds: float) -> str:
    if seconds < 120:
        return gettext("{count} s", count=round(seconds, 1) if seconds < 10 else round(seconds))
    return gettext("{count} min", count=round(seconds / 60))


def judgement(one: Feedback) -> Json:
    who = (
        one.rater
        or {"person": "", "implied": gettext("implied by what came next"), "judge": gettext("a judge")}[one.source]
    )
    return {"id": one.id, "who": who, "at": one.created_at, "choice": one.choice, "tags": one.tags, **_said(one)}


def _said(one: Feedback) -> Json:
    if one.kind == "correction":
        return {"sign": "down", "text": gettext("corrected: {text}", text=one.text or "")}
    if one.kind == "comparison":
        return {"sign": "up", "text": gettext("preferred to {other}", other=one.against)}
    value = one.value or 0.0
    if one.kind == "thumb":
        return {"sign": "up" if value else "down", "text": gettext("good") if value else gettext("bad")}
    name = one.text or one.kind
    return {"sign": "up" if value > 0.5 else "down" if value < 0.5 else "flat", "text": f"{name}: {value:g}"}


def turn(episode: Episode, feedback: Sequence[Feedback]) -> Json:
    """A reply and what was asked for it."""
    asked = [one.content for one in episode.messages if one.role == "user"]
    return {
        "id": episode.id,
        "alias": gettext("{alias} (a candidate, unheard)", alias=episode.alias)
        if episode.arm == "shadow"
        else episode.alias,
        "arm": episode.arm,
        "adapter": episode.adapter or episode.base_model,
        "session": episode.session,
        "tenant": episode.tenant,
        "user": episode.user,
        "kind": episode.turn,
        "trainable": episode.trainable,
        "redacted": episode.redacted,
        "memory": (episode.memory or "").partition("@")[0],
        "at": episode.created_at,
        "took": took(episode.seconds),
        "waited": took(episode.waited) if episode.waited is not None else "",
        "tokens": sum(len(one.tokens) for one in episode.choices),
        "question": asked[-1] if asked else "",
        "messages": [{"role": one.role, "text": one.content} for one in episode.messages],
        "answers": [{"text": one.text, "stop": one.stop_reason} for one in episode.choices],
        "feedback": [judgement(one) for one in feedback],
    }


def lift_line(found: Lift) -> Json:
    """A difference with its interval, or why there is none."""
    if found.overall is None:
        return {"alias": found.alias, "figure": "", "why": found.why}
    one, (ours, theirs) = found.overall, found.overall.people
    figure = f"{one.difference:+.2f}"
    why = gettext("{ours} people against {theirs} held back", ours=ours, theirs=theirs)
    return {"alias": found.alias, "figure": figure, "why": why, "bar": bar(one.low, one.high)}


def bar(low: float, high: float) -> Json:
    """An interval within -1 and 1, for the eye."""
    left, right = max(-1.0, min(1.0, low)), max(-1.0, min(1.0, high))
    return {
        "low": f"{low:+.2f}",
        "high": f"{high:+.2f}",
        "sign": "up" if low > 0 else "down" if high < 0 else "flat",
        "x": f"{left:.3f}",
        "width": f"{max(right - left, 0.02):.3f}",
    }


def lap_card(lap: Lap) -> Json:
    verdict = verdict_of(lap) or {}
    return {
        "id": lap.id,
        "alias": lap.alias,
        "state": lap.state,
        "outcome": verdict.get("outcome", lap.state),
        "reason": verdict.get("reason", "") or lap.report.get("failure", "") or lap.report.get(WHY, ""),
        "phase": lap.phase,
        "at": lap.started_at,
        "took": took((lap.finished_at or datetime.now(UTC).timestamp()) - lap.started_at),
        "suites": [_suite(suite) for suite in verdict.get("comparisons", ())],
    }


def verdict_of(lap: Lap) -> Mapping[str, Any] | None:
    found = lap.report.get("verdict")
    return cast(Mapping[str, Any], found) if isinstance(found, Mapping) else None


def _suite(suite: Mapping[str, Any]) -> Json:
    return {
        "name": suite["suite"],
        "n": suite["n"],
        "before": f"{suite['incumbent']:.2f}",
        "after": f"{suite['candidate']:.2f}",
        "difference": f"{suite['difference']:+.2f}",
        "bar": bar(float(suite["low"]), float(suite["high"])),
        "outcome": suite.get("outcome", ""),
        "margin": suite.get("margin", 0.0),
        "p": f"{suite.get('corrected', 1.0):.2g}",
        "test": suite.get("test", ""),
        "held": suite.get("held", 0),
        "lost": suite.get("lost", 0),
    }
