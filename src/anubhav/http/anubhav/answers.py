"""What the Anubhav API answers: the house's words as JSON, with the few fields that clients ask for first."""

from typing import Any

import msgspec

from anubhav.types.chat import Message
from anubhav.types.experience import Episode, Feedback, Lap
from anubhav.types.looking import Judgement

Json = dict[str, Any]


def lap_json(lap: Lap) -> Json:
    """`outcome` is the verdict's word, null before there is one."""
    verdict: Any = lap.report.get("verdict")
    return {**msgspec.to_builtins(lap), "verdict": verdict, "outcome": verdict["outcome"] if verdict else None}


def message_json(message: Message) -> Json:
    """As the OpenAI API writes a message."""
    found: Json = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return found | ({"tool_call_id": message.tool_call_id} if message.tool_call_id else {})


def episode_json(episode: Episode, feedback: list[Feedback]) -> Json:
    """Without token ids: those are for training, not for reading."""
    return {
        "id": episode.id,
        "alias": episode.alias,
        "base_model": episode.base_model,
        "adapter": episode.adapter,
        "session": episode.session,
        "user": episode.user,
        "turn": episode.turn,
        "arm": episode.arm,
        "trainable": episode.trainable,
        "redacted": episode.redacted,
        "memory": episode.memory,
        "created_at": episode.created_at,
        "messages": [message_json(message) for message in episode.messages],
        "choices": [{"text": choice.text, "stop_reason": choice.stop_reason} for choice in episode.choices],
        "feedback": [
            {
                name: value
                for name, value in msgspec.to_builtins(one).items()
                if name not in ("seq", "tenant", "episode")
            }
            for one in feedback
        ],
    }


def judgement_json(one: Judgement) -> Json:
    """`rater` is whose it counts as; who was named is `named`."""
    told = msgspec.to_builtins(one.feedback)
    return {
        **{name: value for name, value in told.items() if name not in ("seq", "rater")},
        "named": one.feedback.rater,
        "rater": one.rater,
        "asked": one.asked,
        "answer": one.answer,
        "became": one.became,
        "laps": list(one.laps),
    }
