"""What a house has after some days of use, made through its own rooms."""

import time
from collections.abc import Sequence

from school import ask, teach_talks

from anubhav.episodes.recorder import Given
from anubhav.flows.house import House
from anubhav.flows.react import react
from anubhav.types.chat import Message
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.experience import Choice, Comparison, Episode, Lap, Release
from anubhav.types.ids import new_id

QUESTION, BEFORE, AFTER = "How long may I return it?", "Returns close after 14 days.", "Returns are free for 30 days."
TALKS = (
    ("Do you ship to Nepal?", "Yes, in 6 to 9 days."),
    ("Where is my order 4711?", "I cannot look up orders, please ask the desk."),
    ("Can I pay by invoice?", "Invoices are for companies with an account."),
)


async def seed(house: House) -> None:
    await say(house, QUESTION, BEFORE, session="visit-1", user="mira")
    for place, (question, answer) in enumerate(TALKS):
        name = await say(house, question, answer, session=f"visit-{1 + place % 2}", user=("mira", "jonas")[place % 2])
        good = place % 2 == 0
        await react(house, "local", [Given(name, "thumb", good, rater="mira")])
    await release(house, BEFORE, "grew from 0.31 to 0.62 on the shop's questions")
    await release(house, AFTER, "grew from 0.62 to 0.88 on the shop's questions")


async def say(house: House, question: str, *answers: str, **told: str) -> str:
    """A recorded reply with so many answers; returns its id."""
    renderer, messages = house.renderers["tiny"], (Message("user", question),)
    choices = tuple(_choice(tuple(renderer.encode(answer)), answer) for answer in answers)
    episode = Episode(
        new_id("ep"), "local", "default", "tiny", None, messages, tuple(renderer.render(messages)), choices, 1.0,
        time.time(), 0.4, waited=0.1, **told,
    )  # fmt: skip
    return (await house.recorder.record(episode)).id


def _choice(tokens: tuple[int, ...], answer: str) -> Choice:
    return Choice(tokens, (-0.5,) * len(tokens), answer, "stop")


async def release(house: House, answer: str, why: str) -> Checkpoint:
    """The alias answers so from now on, as after a lap whose candidate passed."""
    taught = await teach_talks(house.desk, house.renderers["tiny"], "anubhav", [(ask(QUESTION), answer)])
    comparison = Comparison("target-shop", 40, 0.62, 0.88, 0.26, 0.14, 0.38, outcome="pass")
    verdict = {"outcome": "pass", "reason": why, "comparisons": _plain([comparison])}
    now = time.time()
    lap = Lap(new_id("lap"), "default", "done", "done", now - 80, now, {"verdict": verdict})
    passed = Release(
        new_id("rel"), "default", str(taught.path), taught.adapter, "promote", "local", why, now, lap.id, verdict
    )
    await house.register.settle(passed, lap, "{}", None)
    return taught


def _plain(comparisons: Sequence[Comparison]) -> list[dict[str, object]]:
    return [{name: getattr(one, name) for name in one.__dataclass_fields__} for one in comparisons]
