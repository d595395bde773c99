"""All pages of the console."""

from fastapi import APIRouter

from anubhav.http.console import home, memory, playground, releases, review, runs, sessions

router = APIRouter()
for _room in (home, playground, review, sessions, releases, runs, memory):
    router.include_router(_room.router)
router.include_router(home.files)
