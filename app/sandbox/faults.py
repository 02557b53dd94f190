"""What goes wrong on purpose: by chance with a seeded generator, or once and exactly where a test wants it."""

import random
from dataclasses import dataclass
from typing import Any

from app.sandbox.errors import invalid

WEBHOOK = ("duplicate", "reorder", "delay", "drop")
API = ("api_429", "api_500", "reply_lost")
NAMES = WEBHOOK + API
KINDS = ("api_400", "api_429", "api_500", "reply_lost", "slow")
SLOW_S = 0.3


@dataclass
class Targeted:
    """A fault for the next ``times`` requests of a method whose path begins so. ``slow`` answers after 0.3 s,
    ``api_400`` refuses for good.
    """

    method: str
    path_prefix: str
    kind: str
    times: int = 1


class Faults:
    """Probabilities per name (0 by default) and targeted one-shots."""

    def __init__(self, seed: int | None, chances: dict[str, float]) -> None:
        self.rng = random.Random(seed)
        self.chances = dict.fromkeys(NAMES, 0.0)
        self.targeted: list[Targeted] = []
        self.counts: dict[str, int] = {}
        self._failed: set[tuple[str, str]] = set()
        self.set({**chances})

    def set(self, wanted: dict[str, Any]) -> None:
        """Take over probabilities; ``targeted`` replaces the one-shots; ``seed`` starts the generator anew."""
        for name, value in wanted.items():
            if name == "targeted":
                self.targeted = [_targeted(one) for one in value]
            elif name == "seed":
                self.rng.seed(value)
            elif name in self.chances and isinstance(value, int | float) and 0 <= value <= 1:
                self.chances[name] = float(value)
            else:
                raise invalid(f"Unknown fault or not a probability: {name}", param=name)

    def hits(self, name: str) -> bool:
        """Throw the die for one fault."""
        chance = self.chances[name]
        return chance > 0 and self.rng.random() < chance and self._count(name)

    def for_request(self, method: str, path: str, context: str = "") -> str | None:
        """The fault this request shall meet, if any; a targeted one is used up.

        v1 keeps a 500 under its key for ever; after a second one only a person can tell what to do. So by chance an account
        meets one at most for each thing that it makes there.
        """
        for one in self.targeted:
            if one.times > 0 and one.method in {method, "*"} and path.startswith(one.path_prefix):
                one.times -= 1
                self._count(one.kind)
                return one.kind
        fault = next((name for name in API if self.hits(name)), None)
        if fault == "api_500" and method == "POST" and path.startswith("/v1/"):
            if (path, context) in self._failed:
                return None
            self._failed.add((path, context))
        return fault

    def _count(self, name: str) -> bool:
        self.counts[name] = self.counts.get(name, 0) + 1
        return True

    def shown(self) -> dict[str, Any]:
        """For the control route."""
        return {**self.chances, "targeted": [vars(t) for t in self.targeted if t.times > 0], "counts": self.counts}


def _targeted(wanted: dict[str, Any]) -> Targeted:
    try:
        one = Targeted(**wanted)
    except TypeError as error:
        raise invalid(str(error), param="targeted") from error
    if one.kind not in KINDS:
        raise invalid(f"kind must be one of {', '.join(KINDS)}", param="targeted.kind")
    return one
