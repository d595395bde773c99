"""The status page: what the house knows, as the words and bars that the template shows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, cast

from minijinja import Environment

from anubhav.flows.trying import Lift
from anubhav.http.description import tells
from anubhav.types.experience import Episode, Feedback, Lap, Release

Json = dict[str, Any]
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
PAGE = tells("text/html") | tells("text/html", status=401, why="The page says how to sign in")
STATIC = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
_WEB = files("anubhav").joinpath("web")


def static(name: str) -> bytes | None:
    return _WEB.joinpath(name).read_bytes() if name in STATIC else None


def sign_in_page(problem: str = "") -> str:
    return render("status.html", signed_in=False, problem=problem)


def status_page(
    models: Sequence[str],
    live: Sequence[Release],
    laps: Sequence[Lap],
    releases: Sequence[Release],
    episodes: Sequence[tuple[Episode, Sequence[Feedback]]],
    lifts: Sequence[Lift] = (),
) -> str:
    return render(
        "status.html",
        signed_in=True,
        models=list(models),
        now=moment(datetime.now(UTC).timestamp()),
        aliases=[_alias(release, lifts) for release in live] or [_untaught(models)],
        laps=[_lap(lap) for lap in laps],
        releases=[_release(release) for release in releases],
        episodes=[_episode(episode, feedback) for episode, feedback in episodes],
    )


@cache
def _environment() -> Environment:
    templates = {name: _WEB.joinpath(name).read_text(encoding="utf-8") for name in ("status.html", "memory.html")}
    # Everything that is put into a page is escaped.
    return Environment(templates=templates, auto_escape_callback=lambda name: "html")


def render(page: str, **context: Any) -> str:
    return _environment().render_template(page, **context)


def _alias(release: Release, lifts: Sequence[Lift]) -> Json:
    since = f"since {moment(release.created_at)}, by {release.who}: {release.why}"
    title = "taught" if release.path else "base model"
    lift = next((_lift(one) for one in lifts if one.alias == release.alias), "")
    return {"name": f"{release.alias}@stable", "title": title, "detail": since, "path": release.path, "lift": lift}


def _lift(found: Lift) -> str:
    if found.overall is None:
        return f"Lift: no figure, {found.why}"
    one, (ours, theirs) = found.overall, found.overall.people
    interval = f"95 % {one.low:+.2f} … {one.high:+.2f}"
    return f"Lift: {one.difference:+.2f} ({interval}), {ours} people against {theirs} held back"


def _untaught(models: Sequence[str]) -> Json:
    return {"name": "default@stable", "title": "base model", "detail": f"{models[0]}, nothing learned yet"}


def _lap(lap: Lap) -> Json:
    verdict = verdict_of(lap) or {}
    return {
        "id": lap.id,
        "alias": lap.alias,
        "outcome": verdict.get("outcome", lap.state),
        "reason": verdict.get("reason", ""),
        "phase": lap.phase,
        "when": moment(lap.started_at),
        "took": _took((lap.finished_at or datetime.now(UTC).timestamp()) - lap.started_at),
        "suites": [_suite(suite) for suite in verdict.get("comparisons", ())],
    }


def verdict_of(lap: Lap) -> Mapping[str, Any] | None:
    found = lap.report.get("verdict")
    return cast(Mapping[str, Any], found) if isinstance(found, Mapping) else None


def _suite(suite: Mapping[str, Any]) -> Json:
    low, high = float(suite["low"]), float(suite["high"])
    left, right = max(-1.0, min(1.0, low)), max(-1.0, min(1.0, high))
    return {
        "name": suite["suite"],
        "n": suite["n"],
        "before": f"{suite['incumbent']:.2f}",
        "after": f"{suite['candidate']:.2f}",
        "difference": f"{suite['difference']:+.2f}",
        "low": f"{low:+.2f}",
        "high": f"{high:+.2f}",
        "sign": "up" if low > 0 else "down" if high < 0 else "flat",
        "bar_x": f"{left:.3f}",
        "bar_width": f"{max(right - left, 0.02):.3f}",
    }


def _release(release: Release) -> Json:
    return {
        "alias": release.alias,
        "action": release.action,
        "path": release.path or "base model",
        "who": release.who,
        "why": release.why,
        "when": moment(release.created_at),
    }


def _episode(episode: Episode, feedback: Sequence[Feedback]) -> Json:
    asked = [message.content for message in episode.messages if message.role == "user"]
    more = f"  (+{len(episode.choices) - 1} other answers)" if len(episode.choices) > 1 else ""
    shown = [_feedback(one) for one in feedback[:3]]
    if len(feedback) > len(shown):
        shown.append({"sign": "flat", "text": f"and {len(feedback) - len(shown)} more"})
    return {
        "id": episode.id,
        "alias": f"{episode.alias} (a candidate, unheard)" if episode.arm == "shadow" else episode.alias,
        "question": _cut(asked[-1] if asked else ""),
        "answer": _cut(episode.choices[0].text if episode.choices else "") + more,
        "when": moment(episode.created_at),
        "took": f"{episode.seconds:.1f} s",
        "feedback": shown,
    }


def _feedback(feedback: Feedback) -> Json:
    if feedback.kind == "correction":
        return {"sign": "down", "text": f"corrected: {_cut(feedback.text or '')}"}
    if feedback.kind == "comparison":
        return {"sign": "up", "text": "preferred to another answer"}
    value = feedback.value or 0.0
    text = ("thumb up" if value else "thumb down") if feedback.kind == "thumb" else f"{feedback.kind}: {value:g}"
    return {"sign": "up" if value >= 0.5 else "down", "text": text}


def _cut(text: str, width: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%d %b %H:%M:%S")


def _took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
