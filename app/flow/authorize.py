"""authorize: answers ``issuing_authorization.request`` while Stripe waits, from our own database alone.

The rule: every request is answered 200 before the deadline, whatever the database does. Lock, one read, one write and
commit happen on connections of its own; past the deadline, or at once while the breaker is open, the configured default
is answered and recorded as soon as the database is back. What was answered is what is kept, and what a repeat gets.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable

import asyncpg
import msgspec
import structlog
from prometheus_client import Counter, Histogram
from starlette.responses import Response

from app.flow.late import DATA_ERRORS, LOST, Breaker, LateRecords, Unreadable
from app.machines import decision
from app.machines.decision import Approve, Decline, Request, Snapshot
from app.machines.events import Json
from app.machines.programme import HARD_CAP, Authorization
from app.store import decisions
from app.store.db import Connection, Pool
from app.store.decisions import Decided, Earlier
from app.stripe.envelope import Envelope

LOG = structlog.get_logger()

# For `open_pool(settings=...)`: nothing here outlives Stripe's patience, and plans neither cost time nor grow old.
SESSION = {
    "statement_timeout": "1500ms",
    "idle_in_transaction_session_timeout": "2s",
    "enable_seqscan": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
LATE_MAX = 10_000
_BUCKETS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 1.5, 2.0)

_answered = Counter(
    "cardrail_authorization_decisions", "Real-time answers, by yes or no and reason", ["approved", "reason"]
)
_took = Histogram("cardrail_authorization_seconds", "From request to answer", buckets=_BUCKETS)


class Answer(msgspec.Struct, frozen=True):
    """What Stripe is told: ``amount`` only where it is less than was asked for; ``decision`` is the request's event."""

    approved: bool
    reason: str
    decision: str
    amount: int | None = None


class Line:
    """Where the requests of one account wait for each other, within this process."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.length = 0


class Ask(msgspec.Struct, frozen=True):
    """One request on its way; ``begun`` in nanoseconds of the monotonic clock."""

    envelope: Envelope
    body: bytes
    request: Request
    begun: int

    @property
    def key(self) -> tuple[str, str]:
        return self.envelope.account_id, self.envelope.event_id

    def decided(self, outcome: Approve | Decline, inputs: dict[str, object], at_ms: int) -> Decided:
        approved = isinstance(outcome, Approve)
        request = self.request
        seen: dict[str, object] = {"held": request.held, "history": request.history, "category": request.category}
        if isinstance(outcome, Approve):
            seen |= {"reserved": outcome.reserved, "partial": outcome.partial}
        return Decided(
            account_id=self.envelope.account_id,
            event_id=self.envelope.event_id,
            type=self.envelope.type,
            created=self.envelope.created,
            payload=self.body,
            request=request,
            approved=approved,
            reason=outcome.reason,
            amount=outcome.amount if isinstance(outcome, Approve) else 0,
            inputs={**inputs, **seen},
            took_us=(time.perf_counter_ns() - self.begun) // 1000,
            decided_at_ms=at_ms,
        )


class Authorizer:
    """Answers authorizations. Give it a pool of its own (``settings=SESSION``); ``close`` it before that pool.

    ``deadline_ms`` counts from the call; ``late_max`` bounds the answers that wait for the database to come back.
    """

    def __init__(
        self,
        pool: Pool,
        rules: Authorization,
        *,
        deadline_ms: int,
        default_approve: bool,
        version: str,
        clock: Callable[[], int],
        late_max: int = LATE_MAX,
    ) -> None:
        self._pool = pool
        self._rules = rules
        self._rules_version = hashlib.sha256(msgspec.json.encode(rules)).hexdigest()[:12]
        self._deadline_s = deadline_ms / 1000
        self._default_approve = default_approve
        self._version = version
        self._clock = clock
        self._breaker = Breaker()
        self._late = LateRecords(pool, self._breaker, kept_max=late_max)
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._lines: dict[str, Line] = {}

    async def answer(self, envelope: Envelope, body: bytes) -> Response:
        """Decide one request, and answer it within the deadline in any case."""
        begun = time.perf_counter_ns()
        try:
            request = decision.request_of(_authorization(body))
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            answer = self._unreadable(envelope, body, error)
        else:
            answer = await self._answer(Ask(envelope, body, request, begun))
        _answered.labels(str(answer.approved).lower(), answer.reason).inc()
        _took.observe((time.perf_counter_ns() - begun) / 1e9)
        return self._response(answer)

    async def trial(self, account_id: str, authorization: Json) -> Json:
        """What this authorization would be answered now, and why. Decides, locks and records nothing.

        ``authorization`` is Stripe's object with its ``pending_request``. Raises ValueError when it asks for nothing.
        """
        request, now = decision.request_of(authorization), self._clock()
        async with self._pool.acquire() as conn:
            snapshot, _ = await decisions.facts(conn, account_id, request, self._rules, now)
        outcome = decision.decide(snapshot, request, self._rules, now)
        return {
            "approved": isinstance(outcome, Approve),
            "reason": outcome.reason,
            "amount": outcome.amount if isinstance(outcome, Approve) else 0,
            "ceilings": [
                {"room": ceiling.room, "reason": ceiling.reason}
                for ceiling in decision.ceilings(snapshot, request, self._rules)
            ],
            "snapshot": msgspec.to_builtins(snapshot),
            "rules": self._rules_version,
        }

    async def close(self, *, wait_s: float = 2.0) -> None:
        """Let what is under way end and write what waits, for at most ``wait_s``."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=wait_s)
        await self._late.close(wait_s)

    async def settle(self) -> None:
        """Wait until every late answer is recorded (tests, and an orderly stop)."""
        await self._late.settle()

    async def _answer(self, ask: Ask) -> Answer:
        waiting = self._late.find(ask.key)
        if isinstance(waiting, Decided):
            return Answer(waiting.approved, waiting.reason, waiting.event_id)
        if self._breaker.open:
            return self._default(ask, "database_down")
        task = asyncio.create_task(self._decide(ask))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=self._deadline_s - (time.perf_counter_ns() - ask.begun) / 1e9)
        if not task.done():
            task.cancel()
            self._breaker.failed()
            return self._default(ask, "deadline")
        error = task.exception()
        if error is None:
            self._breaker.worked()
            return task.result()
        if isinstance(error, DATA_ERRORS):
            return self._unreadable(ask.envelope, ask.body, error)
        if isinstance(error, (*LOST, asyncpg.PostgresError, TimeoutError)):
            self._breaker.failed()
        return self._default(ask, type(error).__name__)

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.warning("authorize.failed", error=repr(error))

    async def _decide(self, ask: Ask) -> Answer:
        """Once more on a fresh connection when the one we had turns out to be dead."""
        try:
            return await self._decide_once(ask)
        except LOST:
            await self._pool.expire_connections()
            return await self._decide_once(ask)

    async def _decide_once(self, ask: Ask) -> Answer:
        async with self._in_line(ask.envelope.account_id), self._pool.acquire() as conn:
            try:
                await decisions.begin(conn, ask.envelope.account_id)
                answer = await self._decide_in(conn, ask)
                await decisions.commit(conn)
            except BaseException:
                conn.terminate()
                raise
        return answer

    @contextlib.asynccontextmanager
    async def _in_line(self, account_id: str) -> AsyncIterator[None]:
        """One connection at a time for one account: a busy account must not take those of all others to wait in."""
        line = self._lines.setdefault(account_id, Line())
        line.length += 1
        try:
            async with line.lock:
                yield
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[account_id]

    async def _decide_in(self, conn: Connection, ask: Ask) -> Answer:
        now = self._clock()
        snapshot, earlier = await decisions.facts(conn, ask.envelope.account_id, ask.request, self._rules, now)
        known = _repeated(earlier, ask)
        if known is not None:
            await _keep(conn, ask)
            return Answer(known.approved, known.reason, known.event, known.amount if known.partial else None)
        outcome = decision.decide(snapshot, ask.request, self._rules, now)
        await decisions.record(conn, ask.decided(outcome, self._inputs(snapshot), now))
        partial = outcome.amount if isinstance(outcome, Approve) and outcome.partial else None
        return Answer(isinstance(outcome, Approve), outcome.reason, ask.envelope.event_id, partial)

    def _inputs(self, snapshot: Snapshot) -> dict[str, object]:
        return {
            "rules": self._rules_version,
            "available": snapshot.available,
            "balance_at": snapshot.balance_at,
            "open": snapshot.open,
            "authorized": snapshot.authorized,
            "velocity_count": snapshot.velocity_count,
            "velocity_amount": snapshot.velocity_amount,
        }

    def _default(self, ask: Ask, why: str) -> Answer:
        """The configured default, never beyond the caps that need no database; recorded when the database is back."""
        request = ask.request
        room = min(HARD_CAP, self._rules.per_authorization) - request.held
        outcome: Approve | Decline = Decline(decision.NO_TIME)
        if self._default_approve and request.currency == "usd" and 0 <= request.amount <= room:
            outcome = Approve(request.amount, request.amount + request.extra, decision.NO_TIME)
        decided = ask.decided(outcome, {"rules": self._rules_version, "why": why}, self._clock())
        self._late.add(decided)
        LOG.warning("authorize.default", authorization=request.authorization, approved=decided.approved, why=why)
        return Answer(decided.approved, decided.reason, decided.event_id)

    def _unreadable(self, envelope: Envelope, body: bytes, error: BaseException) -> Answer:
        """No decision can be made on it, so it is declined; the event is kept, parked, for a human."""
        self._late.add(Unreadable(envelope=envelope, body=body, message=str(error)[:500]))
        LOG.warning("authorize.unreadable", event_id=envelope.event_id, error=repr(error))
        return Answer(approved=False, reason=decision.UNREADABLE, decision=envelope.event_id)

    def _response(self, answer: Answer) -> Response:
        body: dict[str, object] = {"approved": answer.approved}
        if answer.amount is not None:
            body["amount"] = answer.amount
        body["metadata"] = {"rule": answer.reason, "decision": answer.decision}
        return Response(
            msgspec.json.encode(body), headers={"Stripe-Version": self._version}, media_type="application/json"
        )


def _authorization(body: bytes) -> dict[str, object]:
    event = msgspec.json.decode(body)
    data = event.get("data") if isinstance(event, dict) else None
    found = data.get("object") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise ValueError("no authorization in data.object")  # noqa: TRY004 - the body is wrong, not a type of ours
    return found


def _repeated(earlier: list[Earlier], ask: Ask) -> Earlier | None:
    """The decision that this request already has: the same event, or the same question about the same standing.

    An increment of an equal amount is another question: the authorization holds more by then, or has a longer history.
    """
    request = ask.request
    asked = (request.amount, request.held, request.history)
    same = [e for e in earlier if e.event == ask.envelope.event_id]
    again = [e for e in earlier if (e.requested, e.held, e.history) == asked]
    return next(iter(same or again), None)


async def _keep(conn: Connection, ask: Ask) -> None:
    envelope = ask.envelope
    await decisions.keep_event(
        conn,
        account_id=envelope.account_id,
        event_id=envelope.event_id,
        type=envelope.type,
        created=envelope.created,
        payload=ask.body,
        status="applied",
    )
