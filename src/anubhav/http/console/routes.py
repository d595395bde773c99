"""All pages of the console."""

from fastapi import APIRouter, Response

from anubhav.http.console import feedback, gates, home, memory, playground, releases, review, rewards, runs, sessions
from anubhav.http.description import tells

router = APIRouter()
_PAGE = {**tells("text/html"), "4XX": {"content": {"text/html": {"schema": {"type": "string"}}}}}
for _room in (home, playground, review, sessions, feedback, rewards, gates, releases, runs, memory):
    router.include_router(_room.router, default_response_class=Response, responses=_PAGE)
router.include_router(home.files)
