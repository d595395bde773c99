"""Who hears what: a person keeps their arm for as long as a trial lasts, and a larger share only adds people.

A person is whom the request names as its user, else its session. Who is nobody known always hears the release.
"""

import hashlib

from anubhav.types.experience import Arm
from anubhav.types.releases import ReleasePolicy, Trial

_POINTS = 10_000


def place(policy: ReleasePolicy, trial: Trial | None, alias: str, person: str | None) -> Arm:
    """Holding back and trying are drawn independently: those held back are a sample of all, trial or none."""
    if person is None:
        return "stable"
    if _point("holdback", alias, person) < policy.holdback * _POINTS // 100:
        return "holdback"
    if trial and policy.steps and trial.step >= 0:
        share = policy.steps[min(trial.step, len(policy.steps) - 1)]
        if _point("trial", trial.id, person) < share * _POINTS // 100:
            return "canary"
    return "stable"


def _point(*names: str) -> int:
    """0 to 9,999, the same for the same names."""
    return int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:8]) % _POINTS
