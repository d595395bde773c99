"""What the Anubhav API answers: the house's words as JSON, with the few fields that clients ask for first."""

from typing import Any

import msgspec

from anubhav.types.experience import Episode, Feedback, Lap

Json = dict[str, Any]


def lap_json(lap: Lap) -> Json:
    """`outcome` is the verdict's word, null before there is one."""
    verdict: Any = lap.report.get("verdict")
    return {**msgspec.to_builtins(lap), "verdict": verdict, "outcome": verdict["outcome"] if verdict else None}


def episode_json(episode: Episode, feedback: list[Feedback]) -> Json:
    """Without token ids: those are for training, not for reading."""
    return {
        "id": episode.id,
        "alias": episode.alias,
        "base_model": episode.base_model,
        "adapter": episode.adapter,
        "session": episode.session,
        "created_at": episode.created_at,
        "messages": [{"role": message.role, "content": message.content} for message in episode.messages],
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
