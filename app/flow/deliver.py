"""deliver: takes due commands from the outbox, calls Stripe outside any transaction, appends the outcome as an event.

With ``calling`` the only caller of Stripe writes. The intent is committed before the call; the outcome and its event are
one transaction. Caps are checked before the first call.
"""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import structlog

from app import metrics
from app.flow.brakes import Guard
from app.flow.calling import LEASE_S, Caller, Lost, Park, Stopped
from app.flow.loops import Places
from app.flow.retry import ATTEMPTS_MAX, backoff_s, snooze_s
from app.machines.events import CommandParked, CommandRejected, CommandSettled, Json
from app.machines.programme import Programme
from app.store import log, outbox, views
from app.store.db import Connection, Pool
from app.stripe import requests
from app.stripe.client import Stripe
from app.stripe.outcome import Outcome, Rejected, Settled, TryAgain, Unknown, Waiting, impersonal

LOG = structlog.get_logger()

COMMANDS_MAX = 32

OF_PLATFORM = {
    "create_outbound_payment": "from_financial_account",
    "create_financial_address": "financial_account",
    "create_inbound_transfer": "financial_account",
}
"""Commands that name the platform's own financial account, and under which parameter."""

Row = Mapping[str, Any]


class Deliverer:
    """Sends commands: schedule ``poll``, and ``close`` in the end. Safe to run any number of times at once, anywhere.

    ``on_sent`` is called after each command: there is an event to apply, and a place for another command.
    """

    def __init__(
        self,
        pool: Pool,
        stripe: Stripe,
        programme: Programme,
        *,
        platform_account: str,
        platform_financial_account: str | None,
        version: str,
        clock: Callable[[], int],
        on_sent: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._stripe = stripe
        self._caller = Caller(pool, stripe, programme, version)
        self._programme = programme
        self._guard = Guard(programme.brakes, platform_account=platform_account)
        self._platform = platform_account
        self._platform_financial_account = platform_financial_account
        self._version = version
        self._clock = clock
        self._places = Places(COMMANDS_MAX, on_sent)
        self._rng = random.Random()

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        await self._places.settle()

    async def close(self, grace_s: float) -> None:
        """Cut off what is still under way after ``grace_s``."""
        await self._places.close(grace_s)

    async def poll(self) -> bool:
        """Start sending what is due, each command in a place of its own. True when there may be more at once."""
        free, token = await self._places.free(), uuid4()
        async with self._pool.acquire() as conn:
            rows = await outbox.claim(conn, token=token, commands_max=free, lease_s=LEASE_S)
        for row in rows:
            self._places.start(self._send(token, row))
        return bool(rows)

    async def _send(self, token: UUID, row: Row) -> None:
        bound = {"account": row["account_id"], "command": row["command_id"], "kind": row["kind"]}
        with structlog.contextvars.bound_contextvars(**bound):
            try:
                request = await self._request(row)
                await self._reserve(row)
                row = {**row, "read_at": self._read_at(row)}
                outcome = impersonal(await self._caller.outcome(row, request), request.params)
            except Stopped as stop:
                outcome = None
                await self._stopped(token, row, called=stop.called)
            except Lost:
                outcome = None
                LOG.warning("deliver.lease_lost")
            except Park as verdict:
                outcome = None
                await self._parked(token, row, verdict.code, verdict.message)
            except Exception as error:
                LOG.exception("deliver.failed")
                outcome = Unknown("defect", f"{type(error).__name__} while sending")
            if outcome is not None:
                await self._record(token, row, outcome)

    # -- before the call ----------------------------------------------------------------------------------------

    async def _request(self, row: Row) -> requests.Request:
        if row["params"] is None:
            raise Park("unsealable", str(row["unsealable"]))
        params: Json = dict(row["params"])
        enrollment = params.pop("enrollment", None)
        if isinstance(enrollment, str):
            params = {**await self._enrolled(row["kind"], enrollment), **params}
        elif row["kind"] == "create_cardholder" and "name" not in params:
            raise Park("no_cardholder_details", "The account was adopted without cardholder details: add them by hand.")
        if row["kind"] in OF_PLATFORM:
            name = OF_PLATFORM[row["kind"]]
            params[name] = params.get(name) or await self._source()
        metadata = {"cardrail_command": row["command_id"]}
        try:
            return requests.build(
                row["kind"], params, account_id=row["account_id"], version=self._version, metadata=metadata
            )
        except (KeyError, ValueError, TypeError) as error:
            raise Park("bad_parameters", f"{row['kind']} cannot be built: {type(error).__name__} {error}") from error

    async def _enrolled(self, kind: str, enrollment: str) -> Json:
        """What the enrollment said. It is read here, so personal data stands in the log of events only."""
        async with self._pool.acquire() as conn:
            event = await views.request_event(conn, self._platform, enrollment)
        if event is None or event["payload"] is None:
            raise Park("enrollment_missing", f"The log of {self._platform} holds no {enrollment}.")
        asked: Json = msgspec.json.decode(event["payload"])["happenings"][0]["request"]
        if kind == "create_cardholder":
            cardholder = asked.get("cardholder")
            if not isinstance(cardholder, dict):
                raise Park("no_cardholder_details", "The enrollment came without cardholder details.")
            return cardholder
        return {k: asked.get(k) for k in ("contact_email", "display_name", "country", "entity_type")}

    async def _source(self) -> str:
        """The platform's financial account: as configured, or the only open one that Stripe lists."""
        if self._platform_financial_account is None:
            found = await self._stripe.list_all("/v2/money_management/financial_accounts", {}, None, page_max=1)
            ours = [str(f["id"]) for f in found if f.get("status") == "open"]
            if len(ours) != 1:
                raise Park(
                    "platform_financial_account", "Set PLATFORM_FINANCIAL_ACCOUNT_ID: which one pays is not clear."
                )
            self._platform_financial_account = ours[0]
        return self._platform_financial_account

    async def _reserve(self, row: Row) -> None:
        """Note the call before it is made, unless it is stopped; hold it against the caps when it moves money.

        The turn at the caps may have taken long, so the lease is looked at, and begins anew, after it.
        """
        moves = row["amount"] is not None and row["first_call_at"] is None
        breach: tuple[str, str] | None = None
        async with self._pool.acquire() as conn, conn.transaction():
            if moves:
                await outbox.lock_money(conn)
            if not await outbox.keep_lease(conn, row, lease_s=LEASE_S):
                raise Lost
            if await outbox.stopped_by(conn, row["account_id"], row["kind"]):
                raise Stopped(called=row["first_call_at"] is not None)
            if moves:
                breach = self._breach(int(row["amount"]), *await outbox.moved_today(conn, row["account_id"]))
            if breach is None:
                await outbox.first_call(conn, row["account_id"], row["command_id"])
            elif breach[0] == "per_programme_day":
                await self._guard.capped(conn, row["kind"], breach[1])
        if breach is not None:
            raise Park("cap_exceeded", breach[1])

    def _read_at(self, row: Row) -> int:
        """Since when Stripe's answer may be true, ms: a repeated call may get the answer of the first, and an event
        that came since may tell of something newer.
        """
        first: datetime | None = row["first_call_at"]
        return self._clock() if first is None else int(first.timestamp() * 1000)

    def _breach(self, amount: int, own: int, everyone: int) -> tuple[str, str] | None:
        """The cap that this amount would break, and in words."""
        caps = self._programme.caps
        for name, moved, cap in (
            ("per_command", amount, caps.per_command),
            ("per_account_day", own + amount, caps.per_account_day),
            ("per_programme_day", everyone + amount, caps.per_programme_day),
        ):
            if moved > cap:
                return name, f"caps.{name} is {cap} cents and this would make it {moved}."
        return None

    # -- after the call -----------------------------------------------------------------------------------------

    async def _record(self, token: UUID, row: Row, outcome: Outcome) -> None:
        metrics.command(row["kind"], type(outcome).__name__.lower())
        match outcome:
            case Settled():
                await self._settled(token, row, outcome)
            case Rejected(code=code, message=message, parks=True):
                await self._parked(token, row, code, message)
            case Rejected():
                await self._rejected(token, row, outcome)
            case Waiting(code=code, message=message):
                age_s = (datetime.now(UTC) - row["created_at"]).total_seconds()
                await self._later(token, row, "pending", code, message, snooze_s(age_s), attempts_back=1, moved=False)
            case TryAgain():
                wait = backoff_s(row["attempts"], self._rng, retry_after_s=outcome.retry_after_s)
                back = 0 if outcome.counts else 1
                await self._again(token, row, "pending", outcome.code, outcome.message, wait, back)
            case Unknown():
                wait = backoff_s(row["attempts"], self._rng, retry_after_s=outcome.retry_after_s)
                await self._again(token, row, "unknown", outcome.code, outcome.message, wait, 0)

    async def _settled(self, token: UUID, row: Row, outcome: Settled) -> None:
        at = self._clock()
        happening = CommandSettled(
            command_id=row["command_id"], kind=row["kind"], intent=row["intent"], object_id=outcome.object_id, at=at
        )
        async with self._pool.acquire() as conn, conn.transaction():
            ours = await outbox.settle(
                conn,
                token=token,
                account_id=row["account_id"],
                command_id=row["command_id"],
                status="settled",
                object_id=outcome.object_id,
                request_id=outcome.request_id,
            )
            if ours:
                await self._tell(conn, row, "command.settled", happening, [(outcome.object, row["read_at"])])
        LOG.info("deliver.settled", object_id=outcome.object_id, attempts=row["attempts"])

    async def _rejected(self, token: UUID, row: Row, outcome: Rejected) -> None:
        happening = CommandRejected(
            command_id=row["command_id"],
            kind=row["kind"],
            intent=row["intent"],
            code=outcome.code,
            message=outcome.message,
            at=self._clock(),
        )
        async with self._pool.acquire() as conn, conn.transaction():
            await outbox.lock_burst(conn, row["kind"])
            ours = await outbox.settle(
                conn,
                token=token,
                account_id=row["account_id"],
                command_id=row["command_id"],
                status="rejected",
                request_id=outcome.request_id,
                error=_error(outcome.code, outcome.message),
            )
            if ours:
                await self._tell(conn, row, "command.rejected", happening, [])
                await self._guard.failed(conn, row["kind"])
        LOG.warning("deliver.rejected", code=outcome.code)

    async def _tell(
        self,
        conn: Connection,
        row: Row,
        name: str,
        happening: CommandSettled | CommandRejected | CommandParked,
        objects: list[tuple[dict[str, object], int]],
    ) -> None:
        await log.append(
            conn,
            account_id=row["account_id"],
            event_id=_event_id(row["command_id"], name, happening),
            source="response",
            type=name,
            happenings=[happening],
            at_ms=happening.at,
            caused_by=row["command_id"],
            objects=objects,
        )

    async def _again(self, token: UUID, row: Row, status: str, code: str, message: str, wait: float, back: int) -> None:
        if row["attempts"] >= ATTEMPTS_MAX:
            await self._parked(token, row, code, f"{message} (after {row['attempts']} attempts)")
        else:
            await self._later(token, row, status, code, message, wait, attempts_back=back)

    async def _later(
        self,
        token: UUID,
        row: Row,
        status: str,
        code: str,
        message: str,
        wait: float,
        *,
        attempts_back: int,
        moved: bool = True,
    ) -> None:
        async with self._pool.acquire() as conn:
            await outbox.settle(
                conn,
                token=token,
                account_id=row["account_id"],
                command_id=row["command_id"],
                status=status,
                error=_error(code, message),
                due_s=wait,
                attempts_back=attempts_back,
                moved=moved,
            )
        LOG.info("deliver.later", status=status, code=code, wait_s=round(wait, 2))

    async def _parked(self, token: UUID, row: Row, code: str, message: str) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            await outbox.lock_burst(conn, row["kind"])
            ours = await outbox.settle(
                conn,
                token=token,
                account_id=row["account_id"],
                command_id=row["command_id"],
                status="parked",
                error=_error(code, message),
            )
            if ours:
                said = CommandParked(
                    command_id=row["command_id"],
                    kind=row["kind"],
                    intent=row["intent"],
                    code=code,
                    message=message,
                    at=self._clock(),
                )
                await self._tell(conn, row, "command.parked", said, [])
                await self._guard.failed(conn, row["kind"])
        metrics.parked("command", code)
        LOG.warning("deliver.parked", code=code)

    async def _stopped(self, token: UUID, row: Row, *, called: bool) -> None:
        async with self._pool.acquire() as conn:
            await outbox.settle(
                conn,
                token=token,
                account_id=row["account_id"],
                command_id=row["command_id"],
                status="unknown" if called else "pending",
                error=None if row["error"] is None else msgspec.json.encode(row["error"]),
                attempts_back=1,
                called=called,
            )


def _event_id(command: str, name: str, happening: CommandSettled | CommandRejected | CommandParked) -> str:
    """One event per end of a command; it can be parked more than once."""
    again = f"_{happening.at}" if isinstance(happening, CommandParked) else ""
    return f"evt_{command}_{name.removeprefix('command.')}{again}"


def _error(code: str, message: str) -> bytes:
    return msgspec.json.encode({"code": code, "message": message})
