"""Evidence for people: of each suite, the few prompts that got better and worse most, with what was said to them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from anubhav.types.experience import Probe, Score

_SHOWN = 3
"""Better ones of a suite, and worse ones."""
_LONGEST = 300
"""Characters of a text."""


def examples(scores: Sequence[Score], probes: Mapping[str, Probe]) -> list[dict[str, object]]:
    """`probes` by id: what is not among them, as a correction asked in other words, is shown without prompt."""
    suites: defaultdict[str, list[Score]] = defaultdict(list)
    for score in scores:
        if score.candidate != score.incumbent:
            suites[score.suite].append(score)
    found: list[dict[str, object]] = []
    for suite in sorted(suites):
        ranked = sorted(suites[suite], key=lambda one: one.candidate - one.incumbent)
        worse = [one for one in ranked[:_SHOWN] if one.candidate < one.incumbent]
        better = [one for one in reversed(ranked[-_SHOWN:]) if one.candidate > one.incumbent]
        found += [_row(one, probes.get(one.probe)) for one in (*better, *worse)]
    return found


def _row(score: Score, probe: Probe | None) -> dict[str, object]:
    return {
        "suite": score.suite,
        "probe": score.probe,
        "prompt": probe.messages[-1].content[:_LONGEST] if probe else None,
        "expected": probe.expected[:_LONGEST] if probe else None,
        "incumbent": score.incumbent,
        "candidate": score.candidate,
        "incumbent_text": score.incumbent_text[:_LONGEST],
        "candidate_text": score.candidate_text[:_LONGEST],
    }
