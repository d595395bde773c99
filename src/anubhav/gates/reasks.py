"""Probes for a correction that nobody wrote probes for: the same question in other words, never trained on.

They measure how likely the corrected answer became, so even one correction has something to say.
"""

from collections.abc import Sequence
from dataclasses import replace

from anubhav.types.chat import Message
from anubhav.types.experience import Probe

SUITE = "target-reasked"
_WORDINGS = (
    "Could you tell me: {question}",
    "A friend asked me this today. {question}",
    "{question} I would like to know.",
    "Hello! {question} Thank you.",
    "Please answer this for me: {question}",
)


def reask(name: str, messages: Sequence[Message], answer: str) -> list[Probe]:
    """One probe per wording of the last question."""
    *before, last = messages
    return [
        Probe(
            f"{name}:{number}",
            SUITE,
            "likelihood",
            (*before, replace(last, content=wording.format(question=last.content))),
            answer,
        )
        for number, wording in enumerate(_WORDINGS)
    ]
