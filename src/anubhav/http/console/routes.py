"""All pages of the console."""

from fastapi import APIRouter, Response

from anubhav.http.console import (
    admin,
    feedback,
    gates,
    home,
    memory,
    models,
    plan,
    playground,
    releases,
    review,
    rewards,
    runs,
    sessions,
)  # fmt: skip
from anubhav.http.description import tells

router = APIRouter()
_PAGE = {**tells("text/html"), "4XX": {"content": {"text/html": {"schema": {"type": "string"}}}}}
_LOOP = (home, playground, review, sessions, feedback, rewards, gates, releases, runs)
for _room in (*_LOOP, models, memory, plan, admin):
    router.include_router(_room.router, default_response_class=Response, responses=_PAGE)
router.include_router(home.files)
