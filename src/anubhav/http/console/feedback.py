"""Feedback: what people said and what became of it, and the raters: how far each is believed, and may move things."""

import time
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.flows.judgements import judgements
from anubhav.flows.overview import DAY
from anubhav.http.console.language import gettext
from anubhav.http.console.page import Page, chosen, show
from anubhav.http.console.words import cut, judgement
from anubhav.http.entrance import house_of
from anubhav.types.experience import FeedbackKind
from anubhav.types.looking import Judgement
from anubhav.types.rewards import Rater

router = APIRouter(route_class=Page)
Json = dict[str, Any]
KINDS: tuple[FeedbackKind, ...] = ("thumb", "rating", "correction", "comparison", "outcome")
_SHOWN = 25
_RATERS = 50


@router.get("/feedback")
async def feedback(
    alias: Annotated[str | None, Query(max_length=200)] = None,
    kind: FeedbackKind | None = None,
    rater: Annotated[str | None, Query(max_length=400)] = None,
    before: Annotated[int | None, Query(ge=1)] = None,
    house: House = Depends(house_of),
) -> Response:
    names, name = await chosen(house, alias)
    found = await judgements(house, name, before, _SHOWN, kind=kind, rater=rater)
    report, raters = await house.watch.glance(name)
    kept = {"alias": name, **({"kind": kind} if kind else {}), **({"rater": rater} if rater else {})}
    older = {**kept, "before": found[-1].feedback.seq} if len(found) == _SHOWN else None
    return await show(
        house, "feedback.html", "/feedback", aliases=names, alias=name, kind=kind, kinds=KINDS, rater=rater,
        rater_of=f"&{urlencode({'rater': rater})}" if rater else "", before=before, newest=urlencode(kept),
        older=older and urlencode(older), week=await house.conversations.since(time.time() - 7 * DAY), report=report,
        found=[_line(one) for one in found], raters=[_rater(one) for one in raters[:_RATERS]], known=len(raters),
    )  # fmt: skip


def _line(one: Judgement) -> Json:
    told = judgement(one.feedback)
    return {
        **told,
        "who": one.rater if one.feedback.source == "person" else told["who"],
        "rater": _linked(one.rater),
        "episode": one.feedback.episode,
        "kind": one.feedback.kind,
        "asked": cut(one.asked),
        "answer": cut(one.answer),
        "became": one.became,
        "laps": one.laps,
    }


def _rater(one: Rater) -> Json:
    known = one.agreed + one.disagreed
    return {
        "name": one.name,
        "link": _linked(one.name),
        "trust": f"{one.trust:.2f}",
        "votes": one.votes,
        "agreement": f"{100 * one.agreed / known:.0f} %" if known >= 1 else "",
        "share": f"{100 * one.share:.0f} %",
        "cap": gettext("none") if one.cap is None else f"{100 * one.cap:.0f} %",
        "mark": one.mark,
        "state": one.mark or ("quarantined" if one.quarantined else "held out" if one.held else "heard"),
        "since": one.first_at,
    }


def _linked(name: str) -> str:
    """As the address has it; empty for votes that are nobody's in particular."""
    nobody = name.endswith("/") or name.startswith(("judge:", "implied:"))
    return "" if nobody else urlencode({"rater": name})
