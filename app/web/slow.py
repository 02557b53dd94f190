"""Clients that finish no request's head, or do not read their answer: ended, without a timer for each request.

The rule it enforces: no client holds a connection by doing nothing. uvicorn closes what idles after an answer, but only until the
next byte comes, and its timer is not set for a connection that never asked. So all connections are looked at now and
then, and one that stood still in between for too long is closed; a request costs nothing more for that. What is between
a head and its answer is not looked at: bodies have a limit of their own (``bodies``).
"""

from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_MAX_S = 10.0
"""How long a request's head may take to arrive, and what is sent after a request was answered."""
UNREAD_MAX_S = 60.0
"""How long a client may read nothing of an answer that waits for it."""


class Patience:
    """Looks at the connections of one server; call ``look`` every second or so."""

    def __init__(self, head_max_s: float = HEAD_MAX_S, unread_max_s: float = UNREAD_MAX_S) -> None:
        self._head_max_s = head_max_s
        self._unread_max_s = unread_max_s
        self._still: dict[HttpToolsProtocol, tuple[object, float]] = {}

    def look(self, connections: Iterable[object], now: float) -> None:
        """End those that have stood still for too long. ``now`` is monotonic, seconds."""
        still: dict[HttpToolsProtocol, tuple[object, float]] = {}
        for one in connections:
            if not isinstance(one, HttpToolsProtocol) or one.transport.is_closing():
                continue
            stands, limit_s = self._stands(one)
            if stands is None:
                continue
            before, since = self._still.get(one, (None, now))
            still[one] = stands, (since if before == stands else now)
            if now - still[one][1] >= limit_s:
                one.transport.abort()
        self._still = still

    def _stands(self, one: HttpToolsProtocol) -> tuple[object, float]:
        """What does not change while it stands still, None when it is not to be waited for, and for how long it may."""
        if one.flow.write_paused:
            return ("unread", one.transport.get_write_buffer_size()), self._unread_max_s
        cycle: RequestResponseCycle | None = one.cycle  # none before the first request
        if cycle is None or cycle.response_complete:
            return (None if one.timeout_keep_alive_task else ("head", id(cycle))), self._head_max_s
        return None, 0.0
