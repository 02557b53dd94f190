"""Time in the two forms of the API, and ids that count."""

import itertools
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime


def rfc3339(at: float | None = None) -> str:
    """UTC with milliseconds, as v2 writes it; now by default."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix() -> int:
    """Unix seconds, as v1 writes it."""
    return int(time.time())


def parse(text: str) -> float:
    """RFC 3339 text as unix seconds. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


class Ids:
    """Ids with a prefix, a tag of this world and a counter per prefix.

    The tag keeps ids of two runs apart, so that a receiver which remembers the first does not take the second for
    duplicates. A seed makes it repeatable.
    """

    def __init__(self, seed: int | None) -> None:
        self._tag = secrets.token_hex(3) if seed is None else f"{seed:06x}"
        self._counters: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))

    def new(self, prefix: str) -> str:
        """The next id of this prefix."""
        return f"{prefix}1S{self._tag}{next(self._counters[prefix]):08d}"
