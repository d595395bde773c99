"""Taking turns: ours, the peer, ours, the peer … so that a slow minute of the machine is shared by both."""

from collections.abc import Callable, Mapping

Measure = Callable[[int], float]
"""The number of the round → seconds, or what else is measured."""


def take_turns(rounds: int, contenders: Mapping[str, Measure]) -> dict[str, list[float]]:
    """What each measured in each round, after one round that does not count. Every other round starts at the end."""
    order = list(contenders)
    for name in order:
        contenders[name](0)
    measured: dict[str, list[float]] = {name: [] for name in order}
    for number in range(1, rounds + 1):
        for name in order if number % 2 else reversed(order):
            measured[name].append(contenders[name](number))
    return measured
