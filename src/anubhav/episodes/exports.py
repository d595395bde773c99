"""Exports: recorded experience in the shapes that other trainers read (TRL's conversational ones), one JSON object a
line. Each row names the replies and the feedback it was made of, so that it can be found again when somebody is erased.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from anubhav.episodes.trajectories import Trajectory
from anubhav.types.chat import Message
from anubhav.types.experience import Episode, Feedback, split_target

Form = Literal["sft", "dpo", "kto", "trajectory"]
Json = dict[str, Any]


def rows(form: Form, episode: Episode, feedback: Sequence[Feedback], others: Mapping[str, Episode]) -> Iterable[Json]:
    """`others`: the episodes of the losing sides of comparisons. Without trajectories: see `trajectory_row`."""
    match form:
        case "sft":
            return _sft(episode, feedback)
        case "dpo":
            return _dpo(episode, feedback, others)
        case "kto":
            return _kto(episode, feedback)
        case "trajectory":
            return ()


def trajectory_row(session: str | None, found: Trajectory, feedback: Sequence[Feedback]) -> Json:
    names = list(dict.fromkeys(span.episode for span in found.spans if span.episode))
    return {
        "session": session,
        "base_model": found.base_model,
        "spans": [asdict(span) for span in found.spans],
        "judgements": [
            {"episode": one.episode, "choice": one.choice, "kind": one.kind, "value": one.value, "text": one.text}
            for one in feedback
        ],
        "episodes": names,
        "feedback": [one.id for one in feedback],
    }


def message_json(message: Message) -> Json:
    """As the OpenAI API writes a message."""
    found: Json = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return found | ({"tool_call_id": message.tool_call_id} if message.tool_call_id else {})


def _sft(episode: Episode, feedback: Sequence[Feedback]) -> Iterable[Json]:
    """The last correction of a reply; without one, the answers that people liked."""
    corrections = [one for one in feedback if one.kind == "correction" and one.text]
    if corrections:
        yield _taught(episode, corrections[-1].text or "", corrections[-1:])
        return
    for place, said in _judged(feedback).items():
        if _mean(said) > 0.5:
            yield _taught(episode, episode.choices[place].text, said)


def _taught(episode: Episode, text: str, because: Sequence[Feedback]) -> Json:
    return {"messages": [*map(message_json, episode.messages), *_answer(text)], **_origin([episode.id], because)}


def _dpo(episode: Episode, feedback: Sequence[Feedback], others: Mapping[str, Episode]) -> Iterable[Json]:
    for one in feedback:
        said = episode.choices[one.choice].text
        if one.kind == "correction" and one.text and one.text != said:
            yield _pair(episode, one.text, said, _origin([episode.id], [one]))
        if one.kind == "comparison" and one.against:
            name, place = split_target(one.against)
            other = episode if name == episode.id else others.get(name)
            if other and other.messages == episode.messages and place < len(other.choices):
                yield _pair(episode, said, other.choices[place].text, _origin([episode.id, name], [one]))


def _pair(episode: Episode, chosen: str, rejected: str, origin: Json) -> Json:
    asked = [*map(message_json, episode.messages)]
    return {"prompt": asked, "chosen": _answer(chosen), "rejected": _answer(rejected), **origin}


def _kto(episode: Episode, feedback: Sequence[Feedback]) -> Iterable[Json]:
    asked = [*map(message_json, episode.messages)]
    for place, said in _judged(feedback).items():
        if (mean := _mean(said)) != 0.5:
            text = episode.choices[place].text
            yield {"prompt": asked, "completion": _answer(text), "label": mean > 0.5, **_origin([episode.id], said)}
    for one in feedback:
        if one.kind == "correction" and one.text:
            yield {"prompt": asked, "completion": _answer(one.text), "label": True, **_origin([episode.id], [one])}


def _judged(feedback: Sequence[Feedback]) -> Mapping[int, list[Feedback]]:
    """Thumbs, ratings and outcomes of each choice."""
    found: defaultdict[int, list[Feedback]] = defaultdict(list)
    for one in feedback:
        if one.value is not None:
            found[one.choice].append(one)
    return found


def _mean(feedback: Sequence[Feedback]) -> float:
    return sum(one.value or 0.0 for one in feedback) / len(feedback)


def _answer(text: str) -> list[Json]:
    return [{"role": "assistant", "content": text}]


def _origin(episodes: Sequence[str], feedback: Sequence[Feedback]) -> Json:
    return {"episodes": list(dict.fromkeys(episodes)), "feedback": [one.id for one in feedback]}
