"""What a house has after some days of use, made through its own rooms."""

import time
from collections.abc import Sequence

import msgspec
from school import ask, teach_talks

from anubhav.episodes.recorder import Given
from anubhav.flows.house import House
from anubhav.flows.react import react
from anubhav.training.client import RunClient
from anubhav.types.chat import Message
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.experience import Choice, Comparison, Episode, Lap, Probe, Release, Score, Verdict
from anubhav.types.ids import new_id
from anubhav.types.people import Use
from anubhav.types.training import LoraSpec

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
    await release(house, BEFORE, 0.31, 0.62)
    await release(house, AFTER, 0.62, 0.88)


async def say(house: House, question: str, *answers: str, alias: str = "default", **told: str) -> str:
    """A recorded reply with so many answers; returns its id."""
    renderer, messages = house.renderers["tiny"], (Message("user", question),)
    choices = tuple(_choice(tuple(renderer.encode(answer)), answer) for answer in answers)
    episode = Episode(
        new_id("ep"), "local", alias, "tiny", None, messages, tuple(renderer.render(messages)), choices, 1.0,
        time.time(), 0.4, waited=0.1, **told,
    )  # fmt: skip
    return (await house.recorder.record(episode)).id


def _choice(tokens: tuple[int, ...], answer: str) -> Choice:
    return Choice(tokens, (-0.5,) * len(tokens), answer, "stop")


async def release(house: House, answer: str, was: float, now: float) -> Checkpoint:
    """The alias answers so from now on, as after a lap whose candidate passed."""
    taught = await teach_talks(house.desk, house.renderers["tiny"], "anubhav", [(ask(QUESTION), answer)])
    gain = now - was
    interval = f"95 % {gain - 0.12:+.2f} to {gain + 0.12:+.2f}"
    why = f"target-shop improved: {was:.2f} → {now:.2f} ({gain:+.2f}, {interval}, p 0.001)"
    comparison = Comparison("target-shop", 40, was, now, gain, gain - 0.12, gain + 0.12, outcome="pass")
    verdict = {"outcome": "pass", "reason": why, "comparisons": _plain([comparison])}
    shop = Probe(f"pr_{was}", "target-shop", "contains", (Message("user", QUESTION),), AFTER, "default")
    await house.probes.add([shop])
    scores = (Score(shop.id, "target-shop", 0.0, 1.0, BEFORE, AFTER), Score("ep_x:re", "target-shop", 1.0, 0.4))
    evidence = msgspec.json.encode(
        Verdict("pass", why, (comparison,), scores, 0.021, ("no audit: nobody is held out",))
    )
    at = time.time()
    lap = Lap(new_id("lap"), "default", "done", "done", at - 80, at, {"verdict": verdict})
    passed = Release(
        new_id("rel"), "default", str(taught.path), taught.adapter, "promote", "local", why, at, lap.id, verdict
    )
    await house.register.settle(passed, lap, evidence.decode(), None)
    return taught


async def grow(house: House) -> tuple[str, str]:
    """Two checkpoints, of which one began with the other."""
    first = await (await RunClient.start(house.desk, "local", "tiny", LoraSpec(rank=4), tag="a")).save(
        "root", "weights"
    )
    later = await RunClient.start(house.desk, "local", "tiny", str(first.path), tag="b")
    return str(first.path), str((await later.save("grown", "sampler_weights")).path)


async def refuse(house: House) -> None:
    """A lap whose candidate forgot what it had been taught."""
    scores = tuple(
        Score(f"ep_{number}:repair0", "guard-repairs", 1.0, 0.0, f"It is {number}.", f"It was {number} once.")
        for number in range(2)
    )
    scores += tuple(
        Score(f"pr_{number}", "guard-questions", 1.0, 0.0, f"Yes, {number}.", f"No, {number}!") for number in range(3)
    )
    forgot = Comparison("guard-repairs", 2, 1.0, 0.0, -1.0, -1.0, -0.8, "harm", 0.001, 0.001, 0.001, 0.05, "fail", 2, 2)
    why, at = "guard-repairs got worse: it forgot 2 of the 2 repairs that the incumbent answers", time.time()
    verdict = Verdict("fail", why, (forgot,), scores, 0.021)
    summary = {"outcome": "fail", "reason": why, "comparisons": _plain([forgot])}
    lap = Lap(new_id("lap"), "default", "done", "done", at - 60, at, {"verdict": summary})
    dropped = Release(new_id("rel"), "default", None, None, "discard", "local", why, at, lap.id, summary)
    await house.register.settle(dropped, lap, msgspec.json.encode(verdict).decode(), None)


def _plain(comparisons: Sequence[Comparison]) -> list[dict[str, object]]:
    return [{name: getattr(one, name) for name in one.__dataclass_fields__} for one in comparisons]


RATERS = ("mira", "jonas", "ada", "kofi", "lin", "troll")


async def judge_much(house: House, replies: int = 24) -> None:
    """Six people judge as many short and long answers; one of them says the contrary. One reply was learned from."""
    for number in range(replies):
        short = number % 2 == 0
        answer = f"In {number + 2} days." if short else "What a great question! " + "It depends on many things. " * 6
        name = await say(house, f"How long does parcel {number} take?", answer, user=f"guest-{number}")
        given = [Given(name, "thumb", short is (rater != "troll"), rater=rater) for rater in RATERS]
        if not short:
            given.append(Given(name, "correction", text=f"In {number + 2} days.", rater="ada"))
        await react(house, "local", given)
    lap, unread = (await house.laps.recent("default", 1))[0], await house.recorder.unread("default")
    used = [Use(one.episode, one.choice, one.id, "imitated", 0) for one in unread.feedback if one.kind == "correction"]
    await house.lineage.used(lap.id, used[:3])
    await house.critic.observe("default")
