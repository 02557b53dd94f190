"""When to try again: full jitter, doubling from 2 s, never later than an hour, never more than 25 times."""

from random import Random

ATTEMPTS_MAX = 25
BASE_S = 2.0
CAP_S = 3_600.0
SNOOZE_S = 5.0
"""First wait of something that is not there yet (a parent, the platform's balance): a snooze, not an attempt."""
SNOOZE_MAX_S = 300.0


def snooze_s(age_s: float) -> float:
    """The older a thing that waits for another, the rarer it asks again; a change of the balance wakes it at once."""
    return min(SNOOZE_MAX_S, max(SNOOZE_S, age_s / 10))


def backoff_s(attempts: int, rng: Random, *, retry_after_s: float | None = None) -> float:
    """Seconds to wait after the ``attempts``-th try failed; ``Retry-After`` of the other side is a lower bound."""
    ceiling = min(CAP_S, BASE_S * 2 ** min(attempts - 1, 12)) if attempts > 0 else BASE_S
    wait = rng.uniform(0, ceiling)
    return wait if retry_after_s is None else max(wait, min(retry_after_s, CAP_S))
