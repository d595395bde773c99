"""What every route begins with: the house that the server was opened with, and its keys."""

from fastapi import Request

from anubhav.flows.house import House
from anubhav.http.auth import Keyring


async def house_of(request: Request) -> House:
    return request.app.state.house


async def keyring_of(request: Request) -> Keyring:
    return request.app.state.keyring
