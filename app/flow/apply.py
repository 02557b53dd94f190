"""apply: folds the pending events of leased accounts and writes what follows, in one transaction per batch.

The only writer of state. Readings of Stripe objects happen before the transaction, once per object and batch, and are
kept beside the event. The lease is checked by the first statement of the transaction: a worker that lost it writes
nothing. An event that cannot be folded is parked with its reason and stops nobody else.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol, TypeVar
from uuid import UUID, uuid4

import asyncpg
import msgspec
import structlog

from app import metrics
from app.flow.retry import ATTEMPTS_MAX, backoff_s
from app.machines.commands import command_id, idempotency_key
from app.machines.events import Happening, Json, Observed
from app.machines.kernel import Object
from app.machines.lifecycle import Facts
from app.machines.programme import Programme
from app.machines.registry import MACHINES
from app.machines.story import Handed, Story, Told, fold
from app.store import log, outbox, states
from app.store.db import Connection, Pool
from app.stripe import catalog, translate
from app.stripe.client import Missing, Reading, Stripe, TryAgain
from app.stripe.translate import Poisoned, Read, Stored

LOG = structlog.get_logger()


class _OfAccount(Protocol):
    account_id: str


T = TypeVar("T", bound=_OfAccount)

ACCOUNTS_MAX = 64
PER_ACCOUNT_MAX = 200
EVENTS_MAX = 1_000
LEASE_S = 60.0
READS_AT_ONCE_MAX = 16

PATHS = {
    "account": "/v2/core/accounts/",
    "financial_account": "/v2/money_management/financial_accounts/",
    "outbound_payment": "/v2/money_management/outbound_payments/",
    "outbound_transfer": "/v2/money_management/outbound_transfers/",
    "payout_method": "/v2/money_management/payout_methods/",
    "received_credit": "/v2/money_management/received_credits/",
    "received_debit": "/v2/money_management/received_debits/",
    "transaction": "/v2/money_management/transactions/",
    "cardholder": "/v1/issuing/cardholders/",
    "card": "/v1/issuing/cards/",
    "authorization": "/v1/issuing/authorizations/",
    "issuing_transaction": "/v1/issuing/transactions/",
    "dispute": "/v1/issuing/disputes/",
    "token": "/v1/issuing/tokens/",
}
"""Where the live object of a kind is read when no declared move explains what was seen."""


class Work(msgspec.Struct):
    """One event on its way through a batch."""

    stored: Stored
    attempts: int
    caused_by: str | None
    reads: tuple[Read, ...] = ()
    happenings: tuple[Happening, ...] = ()
    told: Told | None = None
    status: str = "applied"
    error: Json | None = None
    due_s: float = 0.0
    attempted: int = 0
    fetched_new: bool = False


class Applier:
    """Folds events into state for every account it can lease. Safe to run any number of times at once, anywhere."""

    def __init__(
        self,
        pool: Pool,
        stripe: Stripe,
        programme: Programme,
        *,
        platform_account: str,
        vocabulary: str,
        clock: Callable[[], int],
        on_commands: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._stripe = stripe
        self._programme = programme
        self._platform = platform_account
        self._vocabulary = vocabulary
        self._clock = clock
        self._on_commands = on_commands
        self._rng = random.Random()

    async def poll(self) -> bool:
        """Apply one batch. True when there was work, so more may be waiting."""
        token = uuid4()
        async with self._pool.acquire() as conn:
            pivot = self._pivot()
            leased = await states.claim(conn, token=token, pivot=pivot, accounts_max=ACCOUNTS_MAX, lease_s=LEASE_S)
            if not leased and pivot:
                leased = await states.claim(conn, token=token, pivot="", accounts_max=ACCOUNTS_MAX, lease_s=LEASE_S)
            if not leased:
                return False
            share = max(8, min(PER_ACCOUNT_MAX, EVENTS_MAX // len(leased)))
            rows = await states.pending(conn, leased, per_account_max=share)
            known = await states.load_accounts(conn, leased)
        work = [_work(row) for row in rows]
        try:
            await self._batch(token, leased, work, known)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            await self._one_by_one(token, leased, work, known, error)
        return True

    def _pivot(self) -> str:
        """A random place to start the walk: ids share a prefix, so the walk starts within it."""
        return (
            ""
            if self._rng.random() < 0.5
            else "acct_" + self._rng.choice("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        )

    async def _one_by_one(
        self, token: UUID, leased: list[str], work: list[Work], known: Mapping[str, states.Row], why: Exception
    ) -> None:
        """A batch that the database refused: each account alone, and where that fails its events are parked."""
        LOG.warning("apply.batch_refused", accounts=len(leased), error=type(why).__name__)
        for account in leased:
            own = [w for w in work if w.stored.account_id == account]
            try:
                await self._batch(token, [account], own, known)
            except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
                await self._park(token, account, own, error)

    async def _park(self, token: UUID, account: str, own: list[Work], error: Exception) -> None:
        reason = msgspec.json.encode({"code": "refused_by_database", "message": type(error).__name__})
        rows = [
            states.EventRow(account_id=account, event_id=w.stored.event_id, status="parked", error=reason, attempts=1)
            for w in own[:1]
        ]
        async with self._pool.acquire() as conn, conn.transaction():
            await states.close_events(conn, rows)
            await states.release(conn, token, [account])

    async def _batch(self, token: UUID, leased: list[str], work: list[Work], known: Mapping[str, states.Row]) -> None:
        await self._read(work, known)
        for one in work:
            self._translate(one)
        stories = await self._stories(leased, work, known)
        again = self._fold(stories, work)
        if again:
            await self._settle_refusals(again)
            for one in work:
                self._translate(one)
            stories = await self._stories(leased, work, known)
            self._fold(stories, work)
        await self._write(token, leased, work, stories, known)

    # -- readings ------------------------------------------------------------------------------------------------

    async def _read(self, work: list[Work], known: Mapping[str, states.Row]) -> None:
        """Fetch what thin events point to, and the balance where it may have changed: once per object and batch."""
        for one in work:
            if one.stored.kind == "thin" and not one.stored.fetched:
                try:
                    one.reads = translate.reads(one.stored, platform=self._platform, vocabulary=self._vocabulary)
                except Poisoned as error:
                    one.status, one.error = "parked", {"code": error.code, "message": error.message}
        self._balance_reads(work, known)
        await self._fetch(work)

    def _balance_reads(self, work: list[Work], known: Mapping[str, states.Row]) -> None:
        last: dict[str, Work] = {}
        for one in work:
            entry = catalog.lookup(one.stored.type)
            if entry is not None and entry.balance and one.status == "applied":
                last[one.stored.account_id] = one
        for account, one in last.items():
            facts = known[account]["facts"]
            own = facts.get("financial_account") if facts else None
            if own and own.get("id"):
                context = None if account == self._platform else account
                read = Read(
                    url=PATHS["financial_account"] + own["id"],
                    context=context,
                    include=(),
                    event_id=one.stored.event_id,
                )
                if read.url not in (one.stored.fetched or {}):
                    one.reads = (*one.reads, read)

    async def _fetch(self, work: list[Work]) -> None:
        wanted: dict[tuple[str, str | None], Read] = {}
        for one in work:
            for read in one.reads:
                wanted.setdefault((read.url, read.context), read)
        if not wanted:
            return
        limit = asyncio.Semaphore(READS_AT_ONCE_MAX)

        async def get(read: Read) -> tuple[int, Reading | Missing | TryAgain]:
            async with limit:
                at = self._clock()
                answer = await self._stripe.read(
                    read.url, context=read.context, include=read.include, event_id=read.event_id
                )
                return at, answer

        answers = dict(zip(wanted, await asyncio.gather(*(get(r) for r in wanted.values())), strict=True))
        for one in work:
            for read in one.reads:
                self._keep(one, read, *answers[read.url, read.context])

    def _keep(self, one: Work, read: Read, at: int, answer: Reading | Missing | TryAgain) -> None:
        kept = dict(one.stored.fetched or {})
        match answer:
            case Reading():
                kept[read.url] = {"at": at, "object": answer.object}
            case Missing() if answer.status in (403, 404) and read.url.startswith(PATHS["financial_account"]):
                kept[read.url] = {"at": at, "missing": {"status": answer.status, "code": answer.code}}
            case Missing():
                cause = "not visible in this context: is Stripe-Context right, and may this key read it?"
                message = f"{answer.status} {answer.code} reading {read.url} in context {read.context}: {cause}"
                one.status, one.error, one.attempted = "parked", {"code": "object_missing", "message": message}, 1
                return
            case TryAgain():
                one.attempted = 1
                one.error = {"code": answer.code, "message": answer.message}
                one.status = "pending" if one.attempts + 1 < ATTEMPTS_MAX else "parked"
                one.due_s = backoff_s(one.attempts + 1, self._rng, retry_after_s=answer.retry_after_s)
                return
        one.stored = msgspec.structs.replace(one.stored, fetched=kept)
        one.fetched_new = True

    async def _settle_refusals(self, again: list[tuple[Work, Observed]]) -> None:
        """Read the live object of everything a machine refused: that reading wins."""
        work: dict[str, Work] = {}
        for one, seen in again:
            path = PATHS.get(seen.kind)
            if path is None:
                continue
            own = one.stored.account_id
            context = None if own == self._platform or seen.kind == "account" else own
            one.reads = (Read(url=path + seen.object_id, context=context, include=(), event_id=one.stored.event_id),)
            work[one.stored.account_id + one.stored.event_id] = one
        await self._fetch(list(work.values()))

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
            for object_id in _named(one.happenings)
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
        batch = _Batch(stories, known, self._platform)
        for one in work:
            batch.add(one)
        async with self._pool.acquire() as conn, conn.transaction():
            passed = await states.fence(conn, token, [batch.account(a) for a in leased])
            await batch.write(conn, passed)
        for one in work:
            if one.status == "parked":
                metrics.parked("event", (one.error or {}).get("code", ""))
        if batch.commands:
            self._on_commands()
        LOG.debug("apply.batch", accounts=len(leased), events=len(work), commands=len(batch.commands))


class _Batch:
    """Gathers the rows of one applying transaction."""

    def __init__(self, stories: dict[str, Story], known: Mapping[str, states.Row], platform: str) -> None:
        self._stories = stories
        self._known = known
        self._platform = platform
        self._seq = {a: int(known[a]["seq"]) for a in stories}
        self._applied = {a: int(known[a]["applied"]) for a in stories}
        self._changed: set[str] = set()
        self.events: list[states.EventRow] = []
        self.lines: list[states.LineRow] = []
        self.commands: list[outbox.CommandRow] = []
        self.handed: list[tuple[Work, Handed]] = []
        self.objects: dict[tuple[str, str], states.ObjectRow] = {}

    def add(self, one: Work) -> None:
        account, event_id = one.stored.account_id, one.stored.event_id
        seq: int | None = None
        if one.status in ("applied", "ignored"):
            self._applied[account] += 1
            seq = self._applied[account]
        self.events.append(
            states.EventRow(
                account_id=account,
                event_id=event_id,
                status=one.status,
                applied_seq=seq,
                fetched=msgspec.json.encode(one.stored.fetched) if one.fetched_new else None,
                error=msgspec.json.encode(one.error) if one.error and one.status != "applied" else None,
                due_s=one.due_s,
                attempts=one.attempted,
            )
        )
        if one.told is not None:
            self._told(account, event_id, one, one.told)

    def _told(self, account: str, event_id: str, one: Work, told: Told) -> None:
        for line in told.lines:
            self._seq[account] += 1
            self.lines.append(
                states.LineRow(
                    account_id=account,
                    seq=self._seq[account],
                    machine=line.machine,
                    object_id=line.object_id,
                    before=line.before,
                    after=line.after,
                    event_id=event_id,
                    commands=msgspec.json.encode(line.commands),
                    note=line.note,
                )
            )
        for command in told.commands:
            known = command_id(account, command.intent)
            self.commands.append(
                outbox.CommandRow(
                    account_id=account,
                    command_id=known,
                    kind=command.kind,
                    intent=command.intent,
                    idempotency_key=idempotency_key(known),
                    params=msgspec.json.encode(command.params),
                    amount=command.moves.value if command.moves else None,
                    currency=command.moves.currency if command.moves else None,
                    object_id=command.object_id,
                    caused_by=event_id,
                )
            )
        self.handed += [(one, handed) for handed in told.handed]
        for after in told.changed.values():
            self.objects[account, after.object_id] = _object_row(account, after)
        if told.lines or told.changed:
            self._changed.add(account)

    def account(self, account: str) -> states.AccountRow:
        facts = self._stories[account].facts
        since = datetime.fromtimestamp(facts.since / 1000, UTC) if facts.since else self._known[account]["since"]
        return states.AccountRow(
            account_id=account,
            state=facts.state,
            since=since,
            facts=msgspec.json.encode(facts),
            enrolled=facts.enrolled,
            country=facts.country,
            seq=self._seq[account],
            applied=self._applied[account],
            changed=account in self._changed,
        )

    async def write(self, conn: Connection, passed: set[str]) -> None:
        await states.close_events(conn, _of(self.events, passed))
        await _each(states.put_objects, conn, _of(self.objects.values(), passed))
        await _each(states.write_journal, conn, _of(self.lines, passed))
        await _each(outbox.insert, conn, _of(self.commands, passed))
        for one, handed in self.handed:
            if one.stored.account_id in passed:
                await _hand_on(conn, one, handed)


async def _hand_on(conn: Connection, one: Work, handed: Handed) -> None:
    """Write an event of this log into the log of the account that it concerns, with what was read for it."""
    enrolled = one.stored.type.startswith(("command.", "enrollment."))
    objects = [
        (entry["object"], int(entry["at"]))
        for entry in (one.stored.fetched or {}).values()
        if enrolled and "object" in entry
    ] or (_answer_objects(one.stored) if enrolled else [])
    await log.append(
        conn,
        account_id=handed.account_id,
        event_id=f"{one.stored.event_id}:{handed.account_id}",
        source="request" if enrolled else one.stored.source,
        type="account.enrolled" if enrolled else one.stored.type,
        happenings=handed.happenings,
        at_ms=max(h.at for h in handed.happenings),
        caused_by=one.stored.event_id,
        objects=objects,
    )


def _answer_objects(stored: Stored) -> list[tuple[dict[str, object], int]]:
    """The raw objects that came with a command's answer (the created account opens the new log)."""
    payload = msgspec.json.decode(stored.payload)
    return [(entry["object"], int(entry["at"])) for entry in payload.get("objects", ())]


async def _each(write: Callable[[Connection, list[T]], Awaitable[None]], conn: Connection, rows: list[T]) -> None:
    if rows:
        await write(conn, rows)


def _of(rows: Iterable[T], passed: set[str]) -> list[T]:
    return [row for row in rows if row.account_id in passed]


def _work(row: states.Row) -> Work:
    return Work(
        stored=Stored(
            account_id=row["account_id"],
            event_id=row["event_id"],
            source=row["source"],
            type=row["type"],
            kind=row["kind"],
            created_ms=_ms(row["created"]),
            received_ms=_ms(row["received_at"]),
            payload=row["payload"],
            fetched=row["fetched"],
        ),
        attempts=row["attempts"],
        caused_by=row["caused_by"],
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def held(row: states.Row) -> Object:
    """An object as the machines see it, from its row."""
    return Object(
        object_id=row["object_id"],
        kind=row["kind"],
        state=row["state"],
        data=row["data"],
        observed_at=_ms(row["observed_at"]),
        version=row["version"],
    )


def _object_row(account: str, after: Object) -> states.ObjectRow:
    return states.ObjectRow(
        account_id=account,
        object_id=after.object_id,
        kind=after.kind,
        state=after.state,
        data=msgspec.json.encode(after.data),
        observed_at=datetime.fromtimestamp(after.observed_at / 1000, UTC),
        version=after.version,
    )


def _named(happenings: tuple[Happening, ...]) -> Iterable[str]:
    """Ids of the objects that folding these happenings may look at."""
    for happening in happenings:
        for name in ("object_id", "enrollment_id", "request_id"):
            value = getattr(happening, name, None)
            if isinstance(value, str):
                yield value
        intent = getattr(happening, "intent", None)
        if isinstance(intent, str):
            yield intent.removeprefix("enroll/")
