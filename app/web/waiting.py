"""The wait for a state: everyone who waits in this process shares one look at the database, so a thousand waiters cost
what one costs.
"""

import asyncio
from dataclasses import dataclass, field

from app.machines.lifecycle import STAGES
from app.store import views
from app.web.deps import reading
from app.wiring import Services

LOOK_EVERY_S = 0.15
OVER = frozenset({"closed", "rejected"})


@dataclass(eq=False)
class Waiter:
    """One wait; ``done`` is set once the state is reached or can no longer be."""

    account_id: str
    wanted: str
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Watch:
    """Looks at the accounts that are waited for, as long as there are any."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiters: set[Waiter] = set()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def number(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def close(self) -> None:
        """Let everyone go who waits, and nobody wait any more: the process ends, and each is told how it stands."""
        self._closed = True
        _tell(list(self._waiters))

    async def reached(self, account_id: str, wanted: str, timeout_s: float) -> bool:
        """Return once ``wanted`` is reached, lies behind, or cannot come; False when that took too long. An account
        that does not exist is not waited for.
        """
        if self._closed:
            return False
        waiter = Waiter(account_id, wanted)
        self._waiters.add(waiter)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.done
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True

    async def _look(self) -> None:
        while True:
            waiting = list(self._waiters)
            if not waiting:
                return
            try:
                async with reading(self._services) as conn:
                    states = await views.states(conn, sorted({waiter.account_id for waiter in waiting}))
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                _tell(waiting, error)  # and who came meanwhile gets the next look
            else:
                _tell([w for w in waiting if is_over(states.get(w.account_id), w.wanted)])
            await asyncio.sleep(LOOK_EVERY_S)


def _tell(waiters: list[Waiter], error: Exception | None = None) -> None:
    for waiter in waiters:
        if not waiter.done.done():
            waiter.done.set_result(None) if error is None else waiter.done.set_exception(error)


def is_over(now: str | None, wanted: str) -> bool:
    """Whether ``wanted`` is where the account stands, lies behind it, or cannot be waited for."""
    if now is None or now == wanted or now in OVER:
        return True
    return now in STAGES and wanted in STAGES and STAGES.index(now) > STAGES.index(wanted)
