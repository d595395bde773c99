"""Feedback on sessions, consent, redaction and retention in the store."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from test_recorder import episode

from anubhav.episodes.people import People
from anubhav.episodes.policies import Policies
from anubhav.episodes.recorder import Given, Recorder
from anubhav.errors import BadInput, Mismatch, NotFound
from anubhav.store.database import Database
from anubhav.types.chat import Message
from anubhav.types.experience import Episode, rater_of
from anubhav.types.people import Pattern, Policy


class Letters:
    """Tokens are code points; 0 ends a turn."""

    def render(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return tuple(ord(letter) for message in messages for letter in message.content)

    def answer(self, text: str) -> tuple[int, ...]:
        return (*map(ord, text), 0)


def said(name: str, asked: str = "How long?", **more: object) -> Episode:
    return replace(episode(name, choices=1), messages=(Message("user", asked),), **more)  # type: ignore[arg-type]


async def test_feedback_on_a_session_is_on_its_last_main_reply(database: Database) -> None:
    recorder = Recorder(database)
    await recorder.record(said("ep_1"))
    await recorder.record(said("ep_2"))
    await recorder.record(said("ep_title", turn="side"))
    await recorder.record(replace(said("ep_bob"), tenant="bob"))
    sold = Given(None, "outcome", 1, "sold", session="s1", id="mine")
    ((feedback, about, status),) = await recorder.react("ada", [sold])
    assert (about.id, feedback.episode, feedback.session, status) == ("ep_2", "ep_2", "s1", "accepted")
    # Days later the session went on, and the same judgement comes again.
    await recorder.record(said("ep_3"))
    ((again, about, status),) = await recorder.react("ada", [sold])
    assert (again.id, about.id, status) == ("mine", "ep_2", "repeated")
    assert len((await recorder.unread("default")).feedback) == 1
    with pytest.raises(Mismatch):
        await recorder.react("ada", [replace(sold, value=0)])
    with pytest.raises(NotFound):
        await recorder.react("ada", [Given(None, "thumb", value=True, session="none")])
    for wrong in (Given(None, "thumb", value=True), Given("ep_1", "thumb", value=True, session="s1")):
        with pytest.raises(BadInput):
            await recorder.react("ada", [wrong])


async def test_whose_judgement_it_is(database: Database) -> None:
    recorder = Recorder(database)
    await recorder.record(said("ep_1", user="ann"))
    await recorder.record(said("ep_2"))
    await recorder.record(said("ep_3", session=None))
    targets = [
        Given("ep_1", "thumb", value=True, rater="tom"),
        *(Given(f"ep_{n}", "thumb", value=True) for n in (1, 2, 3)),
    ]
    found = await recorder.react("ada", targets)
    assert [rater_of(feedback, about) for feedback, about, _ in found] == ["tom", "ann", "session:s1", None]
    assert [feedback.rater for feedback, _, _ in found] == ["tom", None, None, None]


async def test_nothing_is_learned_without_consent(database: Database) -> None:
    policies = Policies(database)
    recorder = Recorder(database, policies)
    await recorder.record(said("ep_out", user="out"))
    await recorder.record(said("ep_no", trainable=False))
    await recorder.record(said("ep_side", turn="side"))
    await recorder.record(said("ep_yes", user="ann"))
    await policies.opt_out("ada", "out", out=True)
    for name in ("ep_out", "ep_no", "ep_side", "ep_yes"):
        await recorder.react("ada", [Given(name, "correction", text="Seven days.")])
    await recorder.react("ada", [Given("ep_yes", "thumb", value=True, rater="out")])
    fresh = await recorder.unread("default")
    assert ([one.episode for one in fresh.feedback], set(fresh.episodes)) == (["ep_yes"], {"ep_yes"})
    assert fresh.span == (0, 5)
    await policies.opt_out("ada", "out", out=False)
    assert len((await recorder.unread("default")).feedback) == 3
    await policies.keep("ada", Policy(train=False))
    assert not (await recorder.unread("default")).feedback
    assert (await recorder.record(said("ep_later"))).trainable is False


async def test_what_is_redacted_is_never_kept(database: Database) -> None:
    policies = Policies(database)
    recorder = Recorder(database, policies, {"base": Letters()})
    await policies.keep("ada", Policy(patterns=(Pattern("email"),)))
    asked = said("ep_1", "I am ann@mail.example")
    kept = await recorder.record(asked)
    assert kept == replace(await recorder.find("ada", "ep_1"), seq=0)
    assert (kept.messages[0].content, kept.redacted, kept.as_sampled) == ("I am [email]", True, False)
    assert kept.prompt_tokens == tuple(map(ord, "I am [email]"))
    assert [(choice.tokens, choice.logprobs) for choice in kept.choices] == [((*map(ord, "answer 0"), 0), ())]
    clean = await recorder.record(said("ep_2"))
    assert (clean.redacted, clean.as_sampled, clean.choices[0].tokens) == (False, True, (5, 1))
    given = Given("ep_1", "correction", text="Ask bob@mail.example", id="c1")
    ((feedback, _, _),) = await recorder.react("ada", [given])
    assert feedback.text == "Ask [email]"
    assert (await recorder.react("ada", [given]))[0][2] == "repeated"
    rows = await database.run(
        lambda c: [
            bytes(row["body"]) for table in ("episodes", "feedback") for row in c.execute(f"SELECT body FROM {table}")
        ]
    )
    assert len(rows) == 3
    assert not [row for row in rows if b"mail.example" in row]
    bob = await recorder.record(replace(asked, id="ep_bob", tenant="bob"))
    assert bob.messages[0].content == "I am ann@mail.example"


async def test_what_is_over_goes_with_its_feedback(database: Database) -> None:
    policies, people = Policies(database), People(database)
    recorder = Recorder(database, policies)
    for name, tenant, at in (("ep_old", "ada", 0.0), ("ep_new", "ada", 9 * 86_400.0), ("ep_bob", "bob", 0.0)):
        await recorder.record(replace(said(name), tenant=tenant, created_at=at))
        await recorder.react(tenant, [Given(name, "thumb", value=True)])
    assert await people.expire(now=10 * 86_400.0) == []
    await policies.keep("ada", Policy(keep_days=7))
    assert await people.expire(now=10 * 86_400.0) == ["ep_old"]
    assert await people.expire(now=10 * 86_400.0) == []
    assert {one.episode for one in (await recorder.unread("default")).feedback} == {"ep_new", "ep_bob"}
    with pytest.raises(NotFound):
        await recorder.react("ada", [Given("ep_old", "thumb", value=True)])
    for wrong in (Policy(keep_days=0), Policy(patterns=(Pattern("mine", "(a+)+"),))):
        with pytest.raises(BadInput):
            await policies.keep("ada", wrong)
    assert (await Policies(database).of("ada")).keep_days == 7
