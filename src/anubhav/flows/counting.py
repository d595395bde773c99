"""Counting: what people said of an arm's replies, as votes. The quarantined are not heard, nor what is only implied or
judged; a comparison is a vote on both of its replies."""

from collections.abc import Collection, Mapping

from anubhav.flows.house import House
from anubhav.releases.tallies import Tallies
from anubhav.rewards.signals import rewards
from anubhav.rewards.votes import rater_of
from anubhav.types.experience import Arm, Episode, Feedback
from anubhav.types.releases import Judged, Trial, Vote

ARMS: tuple[Arm, ...] = ("stable", "canary", "holdback")
_DAY = 86_400


async def catch_up(tallies: Tallies, trial: Trial, unheard: Collection[str]) -> None:
    """Count what was said since it was last counted."""
    while True:
        place = await tallies.place(trial, unheard)
        page = await tallies.page(trial.alias, place.position)
        if not page.feedback:
            return
        votes = [one for said in page.feedback for one in cast(said, page.episodes, trial.since, place.unheard)]
        await tallies.count(trial.alias, place, votes, page.feedback[-1].seq)


async def read_all(house: House, alias: str, since: float) -> Mapping[Arm, list[Judged]]:
    """What was said of the replies since then, by arm, a reply and a person at a time."""
    unheard, last = await quarantined(house, alias), dict[tuple[object, ...], Vote]()
    position = await house.trials.tallies.start(alias, since)
    while (page := await house.trials.tallies.page(alias, position)).feedback:
        for said in page.feedback:
            for one in cast(said, page.episodes, since, unheard):
                last[one.episode, one.choice, one.kind, one.voter] = one
        position = page.feedback[-1].seq
    choices: dict[tuple[str, int], list[Vote]] = {}
    for one in last.values():
        choices.setdefault((one.episode, one.choice), []).append(one)
    found: dict[Arm, list[Judged]] = {arm: [] for arm in ARMS}
    for votes in choices.values():
        mean = sum(one.reward for one in votes) / len(votes)
        found[votes[0].arm].append(Judged(votes[0].person, votes[0].day, (mean,)))
    return found


async def quarantined(house: House, alias: str) -> frozenset[str]:
    return frozenset(one.name for one in await house.trust.raters(alias) if one.quarantined)


def cast(said: Feedback, episodes: Mapping[str, Episode], since: float, unheard: Collection[str]) -> list[Vote]:
    """The votes of one judgement on main replies since then; none on those of nobody known."""
    about = episodes.get(said.episode)
    if about is None or said.source != "person" or rater_of(said, about.user) in unheard:
        return []
    return [
        Vote(
            name, choice, said.kind, said.rater or said.id, episode.arm, person, int(episode.created_at // _DAY), reward
        )
        for (name, choice), reward in rewards(said)
        if (episode := episodes.get(name)) and (person := _person(episode, since))
    ]


def _person(episode: Episode, since: float) -> str | None:
    live = episode.turn == "main" and episode.origin is None and episode.arm in ARMS and episode.created_at >= since
    name = episode.user or episode.session
    return f"{episode.tenant}/{name}" if live and name else None
