"""Continuing: the conversation up to and with a recorded reply, as what comes next goes on from it.

What was recorded is the reply's tokens and text; its thoughts, words and calls are heard from them again.
"""

from dataclasses import dataclass

from anubhav.errors import NotFound
from anubhav.flows.house import House
from anubhav.rendering.speech.offering import offered, spoken_of
from anubhav.types.chat import Heard, Message
from anubhav.types.experience import Episode


@dataclass(frozen=True, slots=True)
class Told:
    """A reply from the record."""

    episode: Episode
    heard: Heard
    """Of its first choice."""

    @property
    def conversation(self) -> list[Message]:
        """Without the tools of that request, which the next one offers anew."""
        messages = [
            Message(one.role, one.content, one.name, one.tool_calls, one.tool_call_id, reasoning=one.reasoning)
            for one in spoken_of(self.episode.messages)
        ]
        reply = Message("assistant", self.heard.content, tool_calls=self.heard.calls, reasoning=self.heard.reasoning)
        return [*messages, reply]


async def find_told(house: House, tenant: str, name: str) -> Told:
    """Raises NotFound for a reply that is not the tenant's, was not kept, or whose model is not served now."""
    episode = await house.recorder.find(tenant, name)
    renderer = house.renderers.get(episode.base_model)
    if renderer is None:
        raise NotFound(f"{episode.base_model}, which said it, is not served now", hint="Start the server with it.")
    listener = renderer.listener(episode.prompt_tokens, offered(episode.messages), name_calls(episode.id, 0))
    return Told(episode, listener.push(episode.choices[0].text) + listener.flush())


def name_calls(reply: str, choice: int) -> str:
    """How the ids of a reply's calls begin: the same whenever it is heard."""
    return f"call_{reply.removeprefix('ep_')}_{choice}_"
