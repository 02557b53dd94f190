"""apply: folds the pending events of leased accounts and writes what follows, in one transaction per batch.

The only writer of state. Readings of Stripe objects happen before the transaction, once per object and batch, and are
kept beside the event. The lease is checked by the first statement of the transaction: a worker that lost it writes
nothing. An event that cannot be folded is parked with its reason and stops nobody else.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from uuid import UUID, uuid4

import asyncpg
import msgspec
import structlog

from app import metrics
from app.flow.batch import Batch
from app.flow.calling import NEEDED, NOT_READY
from app.flow.loops import Places
from app.flow.readings import Reader
from app.flow.work import Work, held, named, work_of
from app.machines import programme as policy
from app.machines.events import Observed
from app.machines.lifecycle import Facts
from app.machines.programme import Programme
from app.machines.registry import MACHINES
from app.machines.story import Story, fold
from app.store import outbox, platform, programmes, states
from app.store.db import Connection, Pool
from app.stripe import catalog, translate
from app.stripe.client import Stripe
from app.stripe.translate import Poisoned

LOG = structlog.get_logger()


ACCOUNTS_MAX = 64
PER_ACCOUNT_MAX = 200
EVENTS_MAX = 1_000
CANNOT_BE_WRITTEN = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError, TypeError)
"""What a batch raises because of what is in it, and not because of the database's health."""

READING_MAX = 8
"""So many batches may wait for readings at once, each of other accounts."""
NO_PLACE_S = 0.25
"""So long a place for readings is waited for before accounts that need none go on alone."""
WOKEN_MAX = 1_000
LEASE_S = 15.0
RENEW_S = 5.0


class _MustRead(Exception):
    """These accounts go on only with a reading of Stripe."""

    def __init__(self, accounts: set[str]) -> None:
        super().__init__()
        self.accounts = accounts


class Applier:
    """Folds events into state for every account it can lease: schedule ``poll``, and ``close`` in the end.

    Safe to run any number of times at once, anywhere. ``on_free`` is called after each batch that needed readings.
    """

    def __init__(
        self,
        pool: Pool,
        stripe: Stripe,
        programme: Programme,
        *,
        platform_account: str,
        vocabulary: str,
        clock: Callable[[], int],
        platform_financial_account: str | None = None,
        on_commands: Callable[[], None] = lambda: None,
        on_lines: Callable[[], None] = lambda: None,
        on_free: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._reader = Reader(
            stripe,
            platform=platform_account,
            vocabulary=vocabulary,
            clock=clock,
            platform_financial_account=platform_financial_account,
        )
        self._clock = clock
        self._programme = programme
        self._fingerprint = policy.fingerprint(programme)
        self._programme_kept = False
        self._platform = platform_account
        self._on_commands = on_commands
        self._on_lines = on_lines
        self._after = ""
        self._places = Places(READING_MAX, on_free)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        await self._places.settle()

    async def close(self, grace_s: float) -> None:
        """Cut off what is still under way after ``grace_s``."""
        await self._places.close(grace_s)

    async def poll(self) -> bool:
        """Apply one batch. True when there was work, so more may be waiting.

        Accounts whose events need a reading of Stripe go on beside it: a Stripe that hangs holds up no others. When all
        places for readings are taken, those accounts are left for later.
        """
        free, token = await self._places.free(NO_PLACE_S), uuid4()
        async with self._pool.acquire() as conn:
            leased = await self._claim(conn, token)
            if not leased:
                return False
            share = max(8, min(PER_ACCOUNT_MAX, EVENTS_MAX // len(leased)))
            rows = await states.pending(conn, leased, per_account_max=share)
            known = await states.load_accounts(conn, leased)
        work = [work_of(row) for row in rows]
        self._reader.plan(work, known)
        reading = {one.stored.account_id for one in work if one.reads}
        left = await self._beside(token, reading, leased, work, known, free=free)
        quick = set(leased) - reading
        if quick:
            try:
                await self._lot(token, *_part(quick, leased, work), known, may_read=False)
            except _MustRead as refused:
                left = await self._beside(token, refused.accounts, leased, work, known, free=left)
                quick -= refused.accounts
                if quick:
                    await self._lot(token, *_part(quick, leased, work), known, may_read=False)
        return bool(free or quick or self._after)

    async def _beside(
        self,
        token: UUID,
        accounts: set[str],
        leased: list[str],
        work: list[Work],
        known: Mapping[str, states.Row],
        *,
        free: int,
    ) -> int:
        """Let these accounts go on with readings in a place of their own; without a free one they are given back.
        Returns how many places are left.
        """
        if accounts and free:
            self._places.start(self._lot(token, *_part(accounts, leased, work), known))
            return free - 1
        if accounts:
            async with self._pool.acquire() as conn:
                await states.release(conn, token, sorted(accounts))
        return free

    async def _claim(self, conn: Connection, token: UUID) -> list[str]:
        """Lease accounts with due events, from where the last claim stopped; past those that others hold, once around."""
        rounds = 2 if self._after else 1
        while rounds:
            leased, self._after = await states.claim(
                conn, token=token, after=self._after, accounts_max=ACCOUNTS_MAX, lease_s=LEASE_S
            )
            if leased:
                return leased
            rounds -= not self._after
        return []

    async def _lot(
        self,
        token: UUID,
        leased: list[str],
        work: list[Work],
        known: Mapping[str, states.Row],
        *,
        may_read: bool = True,
    ) -> None:
        async with self._keeping(token, leased):
            try:
                await self._batch(token, leased, work, known, may_read=may_read)
            except CANNOT_BE_WRITTEN as error:
                await self._one_by_one(token, leased, work, known, error)

    @contextlib.asynccontextmanager
    async def _keeping(self, token: UUID, leased: list[str]) -> AsyncIterator[None]:
        """Renew the leases while a batch takes long (slow readings); a dead worker's leases end soon by themselves."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_S)
                async with self._pool.acquire() as conn:
                    await states.renew(conn, token, leased, lease_s=LEASE_S)

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _one_by_one(
        self, token: UUID, leased: list[str], work: list[Work], known: Mapping[str, states.Row], why: Exception
    ) -> None:
        """A batch that cannot be written: each account alone, and of one that fails as much as can be."""
        LOG.warning("apply.batch_refused", accounts=len(leased), error=type(why).__name__)
        for account in leased:
            own = [w for w in work if w.stored.account_id == account]
            try:
                await self._batch(token, [account], own, known)
            except CANNOT_BE_WRITTEN as error:
                await self._halved(token, account, own, known, error)

    async def _halved(
        self, token: UUID, account: str, own: list[Work], known: Mapping[str, states.Row], error: Exception
    ) -> None:
        """Write the first half, or half of that, and so on. The event that fails alone is parked.

        What stands behind it comes with the next poll; so whoever has a backlog is soon past the event that cannot be written.
        """
        while len(own) > 1:
            own = own[: len(own) // 2]
            try:
                await self._batch(token, [account], own, known)
            except CANNOT_BE_WRITTEN as again:
                error = again
            else:
                return
        await self._park(token, account, own, error)

    async def _park(self, token: UUID, account: str, own: list[Work], error: Exception) -> None:
        reason = msgspec.json.encode({"code": "refused_by_database", "message": type(error).__name__})
        rows = [
            states.EventRow(account_id=account, event_id=w.stored.event_id, status="parked", error=reason, attempts=1)
            for w in own
        ]
        async with self._pool.acquire() as conn, conn.transaction():
            await states.close_events(conn, rows)
            await states.release(conn, token, [account])

    async def _batch(
        self,
        token: UUID,
        leased: list[str],
        work: list[Work],
        known: Mapping[str, states.Row],
        *,
        may_read: bool = True,
    ) -> None:
        """Raises _MustRead, with nothing written, where a machine's refusal needs a reading that is not allowed here."""
        if may_read:
            await self._reader.read(work, known)
        for one in work:
            self._translate(one)
        stories = await self._stories(leased, work, known)
        again = self._fold(stories, work)
        if again:
            if not may_read:
                raise _MustRead({one.stored.account_id for one, _ in again})
            await self._reader.settle_refusals(again)
            for one in work:
                self._translate(one)
            stories = await self._stories(leased, work, known)
            self._fold(stories, work)
        await self._write(token, leased, work, stories, known)

    # -- folding -------------------------------------------------------------------------------------------------

    def _translate(self, one: Work) -> None:
        one.told = None
        if one.status not in ("applied", "ignored"):
            return
        try:
            one.happenings = translate.happenings(one.stored)
        except Poisoned as error:
            one.status, one.error = "parked", {"code": error.code, "message": error.message}
            return
        if one.stored.kind != "internal" and catalog.lookup(one.stored.type) is None:
            one.status = "ignored"

    async def _stories(self, leased: list[str], work: list[Work], known: Mapping[str, states.Row]) -> dict[str, Story]:
        keys = {
            (one.stored.account_id, object_id)
            for one in work
            if one.status == "applied"
            for object_id in named(one.happenings)
        }
        stories = {
            account: Story(
                account_id=account,
                platform=account == self._platform,
                facts=msgspec.convert(known[account]["facts"] or {}, Facts),
                objects={},
                machines=MACHINES,
                programme=self._programme,
            )
            for account in leased
        }
        if keys:
            async with self._pool.acquire() as conn:
                rows = await states.load_objects(conn, list(keys))
            for row in rows:
                stories[row["account_id"]].objects[row["object_id"]] = held(row)
        return stories

    def _fold(self, stories: dict[str, Story], work: list[Work]) -> list[tuple[Work, Observed]]:
        """Fold every event in order. Returns what was refused and no later reading in the same event settled."""
        again: list[tuple[Work, Observed]] = []
        for one in work:
            if one.status != "applied":
                continue
            story = stories[one.stored.account_id]
            before = (msgspec.json.encode(story.facts), dict(story.objects))
            try:
                one.told = fold(story, one.happenings)
            except Exception as error:
                LOG.exception("apply.poisoned", account=one.stored.account_id, event_id=one.stored.event_id)
                story.facts, story.objects = msgspec.json.decode(before[0], type=Facts), before[1]
                one.status, one.told = "parked", None
                one.error = {"code": "poisoned", "message": f"{type(error).__name__} while folding"}
                continue
            again += [(one, seen) for seen, _ in one.told.refused if seen.object_id not in one.told.changed]
        return again

    # -- writing -------------------------------------------------------------------------------------------------

    async def _write(
        self,
        token: UUID,
        leased: list[str],
        work: list[Work],
        stories: dict[str, Story],
        known: Mapping[str, states.Row],
    ) -> None:
        batch = Batch(stories, known, self._fingerprint)
        for one in work:
            batch.add(one)
        async with self._pool.acquire() as conn, conn.transaction():
            passed = await states.fence(conn, token, [batch.account(a) for a in leased])
            await batch.write(conn, passed)
            ready = batch.seen(NEEDED) & passed
            woken = await outbox.wake(conn, sorted(ready), NOT_READY) if ready else 0
            if not self._programme_kept:
                await programmes.keep(conn, self._fingerprint, policy.folding(self._programme))
        self._programme_kept = True
        for one in work:
            if one.status == "parked":
                metrics.parked("event", str((one.error or {}).get("code", "")))
        if work:
            metrics.apply_lag((self._clock() - min(one.stored.received_ms for one in work)) / 1000)
        woken += await self._wake(batch)
        if batch.commands or woken:
            self._on_commands()
        if batch.lines:
            self._on_lines()
        LOG.debug("apply.batch", accounts=len(leased), events=len(work), commands=len(batch.commands))

    async def _wake(self, batch: Batch) -> int:
        """Fundings that wait for money leave as soon as a reading shows that the platform has it."""
        cents = batch.seen_available(self._platform, "usd")
        if cents <= 0:
            return 0
        async with self._pool.acquire() as conn:
            return await platform.wake_funding(conn, cents, WOKEN_MAX)


def _part(accounts: set[str], leased: list[str], work: list[Work]) -> tuple[list[str], list[Work]]:
    """What of a batch belongs to these accounts."""
    return [a for a in leased if a in accounts], [one for one in work if one.stored.account_id in accounts]
