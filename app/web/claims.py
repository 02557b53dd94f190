"""Keys of writes that work in transactions of their own: rebuilds, backfills, what passes through to Stripe.

The rule: the key is claimed, and that is committed, before the work begins. An equal request meanwhile is told that the
first is under way; afterwards it gets the first one's answer. The claim is a lease that the working process renews, so a
process that dies lets go of it within ``LEASE_S``, and an equal request then does the work again: whatever runs here must
find what is done already, and do only the rest.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import structlog
from starlette.responses import Response

from app.errors import Conflict
from app.store import db, idempotency
from app.store.idempotency import Key, Row

LOG = structlog.get_logger()

LEASE_S = 60.0
"""How long a key stays claimed after its process was last heard of."""
RENEW_EVERY_S = 15.0
BORROW_MAX_S = 15.0

Keep = Callable[[dict[str, Any]], dict[str, Any] | None]
"""What of an answer is kept to be given again; None: nothing, an equal request goes through once more."""


def whole(made: dict[str, Any]) -> dict[str, Any]:
    """All of it, as nearly every write does."""
    return made


def nothing(_made: dict[str, Any]) -> None:
    """For an answer that must be kept nowhere: the key is then bound to its request alone."""


def given_before(row: Row | None, asked: Key) -> Response:
    """The answer that stands under a key which is taken. Raises Conflict while there is none, or for another request."""
    if row is not None and bytes(row["fingerprint"]) != asked.fingerprint:
        raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
    if row is None or row["status"] is None:
        raise Conflict("A request with this Idempotency-Key is under way.", code="idempotency_in_progress")
    return Response(row["body"], row["status"], {"Idempotent-Replayed": "true"}, "application/json")


class Claim:
    """One key while the work under it goes on."""

    def __init__(self, pool: db.Pool, asked: Key) -> None:
        self._pool = pool
        self._asked = asked
        self._token = uuid4()

    async def take(self) -> Response | None:
        """Claim the key; else the answer given before. Raises Conflict as ``given_before`` does."""
        async with self._conn() as conn:
            if await idempotency.claim(conn, self._asked, self._token, lease_s=LEASE_S):
                return None
            return given_before(await idempotency.kept(conn, self._asked), self._asked)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Renews the claim while the work goes on; work that fails frees the key, as a rolled back write does."""
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        except BaseException:
            async with self._conn() as conn:
                await idempotency.forget(conn, self._asked, self._token)
            raise
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def keep(self, status: int, body: bytes | None) -> None:
        """The work is done: keep the answer, or, without one, only what the key was used for."""
        async with self._conn() as conn:
            if body is None:
                await idempotency.renew(conn, self._asked, self._token, lease_s=0)
            else:
                await idempotency.finish(conn, self._asked, status=status, body=body, token=self._token)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                async with self._conn() as conn:
                    await idempotency.renew(conn, self._asked, self._token, lease_s=LEASE_S)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                LOG.warning("claim.not_renewed", error=type(error).__name__)

    def _conn(self) -> Any:
        return db.borrow(self._pool, within_s=BORROW_MAX_S)
