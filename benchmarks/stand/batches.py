"""The batches everybody is measured on, made from a number so that no data travels. Standard library only."""

import random
from dataclasses import dataclass

LOWEST, HIGHEST = 100, 40_000
"""Token ids: ordinary words of the model, none of its control tokens."""


@dataclass(frozen=True)
class Rollout:
    """One sampled reply as policy-gradient training needs it."""

    prompt: list[int]
    reply: list[int]
    logprobs: list[float]
    advantage: float


def tokens(count: int, chance: random.Random) -> list[int]:
    return [chance.randrange(LOWEST, HIGHEST) for _ in range(count)]


def documents(lengths: list[int], number: int) -> list[list[int]]:
    """Sequences of one token more than the lengths: every input position has a target."""
    chance = random.Random(number)
    return [tokens(length + 1, chance) for length in lengths]


def prompts(count: int, length: int, number: int) -> list[list[int]]:
    """Other ones for every number, so that nobody's cache of prefixes helps from one round to the next."""
    chance = random.Random(number)
    return [tokens(length, chance) for _ in range(count)]


def groups(count: int, each: int, prompt: int, reply: int, number: int) -> list[list[Rollout]]:
    """Groups that share a prompt; the advantages of a group add up to about nothing, as after centring."""
    chance = random.Random(number)
    made: list[list[Rollout]] = []
    for _ in range(count):
        shared = tokens(prompt, chance)
        rewards = [chance.random() for _ in range(each)]
        mean = sum(rewards) / each
        made.append(
            [
                Rollout(shared, tokens(reply, chance), [-chance.uniform(1, 12) for _ in range(reply)], reward - mean)
                for reward in rewards
            ]
        )
    return made
