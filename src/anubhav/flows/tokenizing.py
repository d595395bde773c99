"""Tokenizing: texts and conversations as the tokens of a served model, and tokens as text, for clients without its
tokenizer. Unlike in a prompt, the name of a control token in a text is that token: that is how they ask for its id.
"""

from dataclasses import dataclass

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.rendering.renderer import Renderer
from anubhav.rendering.sight import check_sight
from anubhav.types.chat import Message
from anubhav.types.models import Model


@dataclass(frozen=True, slots=True)
class Tokens:
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    """As the vocabulary writes each."""
    context_length: int


async def tokenize(house: House, tenant: str, model: str | None, text: str, *, special: bool) -> Tokens:
    """`special`: with the tokens that this tokenizer puts around a text."""
    renderer, served = await find(house, tenant, model)
    return _tokens(renderer, served, renderer.read(text, special=special))


async def tokenize_chat(
    house: House, tenant: str, model: str | None, messages: tuple[Message, ...], *, prompt: bool
) -> Tokens:
    renderer, served = await find(house, tenant, model)
    check_sight(messages, served)
    return _tokens(renderer, served, renderer.render(messages, prompt=prompt))


async def detokenize(house: House, tenant: str, model: str | None, ids: tuple[int, ...]) -> str:
    """Control tokens by their names. Raises BadInput for a number that is no token."""
    renderer, _ = await find(house, tenant, model)
    if not all(0 <= token < renderer.vocab_size for token in ids):
        raise BadInput(f"Token ids are 0..{renderer.vocab_size - 1}", hint="Use the tokenizer of this very model.")
    return renderer.spell(ids)


async def find(house: House, tenant: str, model: str | None) -> tuple[Renderer, Model]:
    """Of any name that answers; None: the first model."""
    name = model or next(iter(house.models))
    base = (await house.voices.resolve(tenant, name)).base_model
    return house.renderers[base], house.models[base]


def _tokens(renderer: Renderer, model: Model, ids: tuple[int, ...]) -> Tokens:
    return Tokens(ids, renderer.pieces(ids), model.context_length)
