"""Answers that were given without the database, on their way into it; and the breaker that says it is gone.

The rule: nothing answered is forgotten while this process lives, in bounded memory, and nobody who must answer waits
for a database that just failed. The background recorder is the probe: only it tries while the breaker is open.
"""

import asyncio

import asyncpg
import msgspec
import structlog
from prometheus_client import Counter, Gauge

from app.machines import decision
from app.store import decisions
from app.store.db import Pool
from app.store.decisions import Decided
from app.stripe.envelope import Envelope

LOG = structlog.get_logger()

FAILURES_MAX = 3
PROBE_EVERY_S = 0.25
PROBE_S = 2.0

# What the data itself is to blame for, and what says that a connection is dead.
DATA_ERRORS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, UnicodeEncodeError)
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
)

_dropped = Counter("cardrail_authorization_dropped", "Late answers that could not be kept: see the log for each")
_waiting = Gauge("cardrail_authorization_late", "Answers that wait to be recorded")
_open = Gauge("cardrail_authorization_breaker_open", "1 while authorizations do not ask the database")


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A request event that no decision can be kept for."""

    envelope: Envelope
    body: bytes
    message: str


class Breaker:
    """Opens after ``failures_max`` failures in a row; one success closes it."""

    def __init__(self, failures_max: int = FAILURES_MAX) -> None:
        self._failures_max = failures_max
        self._failures = 0

    @property
    def open(self) -> bool:
        return self._failures >= self._failures_max

    def failed(self) -> None:
        self._failures += 1
        _open.set(self.open)

    def worked(self) -> None:
        self._failures = 0
        _open.set(0)


class LateRecords:
    """Writes late answers in the background, oldest first, until none is left and the breaker is closed."""

    def __init__(self, pool: Pool, breaker: Breaker, *, kept_max: int) -> None:
        self._pool = pool
        self._breaker = breaker
        self._kept_max = kept_max
        self._records: dict[tuple[str, str], Decided | Unreadable] = {}
        self._task: asyncio.Task[None] | None = None

    def find(self, key: tuple[str, str]) -> Decided | Unreadable | None:
        """The answer that this (account, event) was given and that is not recorded yet."""
        return self._records.get(key)

    def add(self, record: Decided | Unreadable) -> None:
        """Keep one to be written; beyond the bound the oldest goes, counted and logged whole."""
        if len(self._records) >= self._kept_max:
            self._drop(next(iter(self._records)), "queue full")
        self._records[_key(record)] = record
        _waiting.set(len(self._records))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def settle(self) -> None:
        """Return when all is written."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def close(self, wait_s: float) -> None:
        """Write for at most ``wait_s`` more; what is left is logged."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=wait_s)
        if self._task is not None:
            self._task.cancel()
        for key in [*self._records]:
            self._drop(key, "stopped")

    async def _run(self) -> None:
        try:
            while self._records or self._breaker.open:
                try:
                    async with asyncio.timeout(PROBE_S):
                        await self._write_next()
                except Exception as error:  # noqa: BLE001  # the database will be back, and this is who looks for it
                    LOG.debug("authorize.late_waits", error=repr(error), waiting=len(self._records))
                    await asyncio.sleep(PROBE_EVERY_S)
        finally:
            self._task = None

    async def _write_next(self) -> None:
        key = next(iter(self._records), None)
        async with self._pool.acquire() as conn:
            try:
                if key is None:
                    await conn.execute("SELECT 1")
                else:
                    await self._write(conn, self._records[key])
            except DATA_ERRORS as error:
                assert key is not None
                self._drop(key, repr(error))
            except BaseException:
                conn.terminate()
                raise
        if key is not None:
            self._records.pop(key, None)
            _waiting.set(len(self._records))
        self._breaker.worked()

    async def _write(self, conn: asyncpg.Connection, record: Decided | Unreadable) -> None:
        if isinstance(record, Decided):
            await decisions.record_answered(conn, record)
            return
        envelope = record.envelope
        await decisions.keep_event(
            conn,
            account_id=envelope.account_id,
            event_id=envelope.event_id,
            type=envelope.type,
            created=envelope.created,
            payload=record.body,
            status="parked",
            error={"code": decision.UNREADABLE, "message": record.message},
        )

    def _drop(self, key: tuple[str, str], why: str) -> None:
        record = self._records.pop(key)
        reason = record.reason if isinstance(record, Decided) else decision.UNREADABLE
        LOG.error("authorize.late_dropped", account=key[0], event_id=key[1], reason=reason, why=why)
        _dropped.inc()


def _key(record: Decided | Unreadable) -> tuple[str, str]:
    if isinstance(record, Decided):
        return record.account_id, record.event_id
    return record.envelope.account_id, record.envelope.event_id
