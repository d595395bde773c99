"""What every route begins with: the house that the server was opened with."""

from fastapi import Request

from anubhav.flows.house import House


async def house_of(request: Request) -> House:
    return request.app.state.house
