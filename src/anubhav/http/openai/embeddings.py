"""Embeddings in OpenAI's shapes: numbers, or base64 of little-endian float32, which the SDK asks for by itself."""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends
from pydantic import Field, StringConstraints

from anubhav.flows.embedding import embed
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.entrance import house_of
from anubhav.http.openai.bodies import Body, Text, Tokens
from anubhav.types.arrays import floats
from anubhav.types.models import Principal

router = APIRouter(dependencies=[Depends(needs("sample"))])


class Embeddings(Body):
    model: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    input: Text | Tokens | Annotated[list[Text] | list[Tokens], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None

    @property
    def inputs(self) -> list[str | tuple[int, ...]]:
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [tuple(cast(list[int], self.input))]
        return [one if isinstance(one, str) else tuple(one) for one in cast(list[str] | list[list[int]], self.input)]


@router.post("/embeddings")
async def embeddings(
    body: Embeddings, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    found = await embed(house, who.tenant, body.model, body.inputs, body.dimensions)
    packed = body.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(found.vectors)
    ]
    usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    return {"object": "list", "data": data, "model": found.model, "usage": usage}


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(floats(vector).data).decode()
