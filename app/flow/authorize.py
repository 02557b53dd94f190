"""authorize: answers ``issuing_authorization.request`` while Stripe waits, from our own database alone.

The rule: every request is answered 200 before the deadline, whatever the database does. The decision is made on
connections of its own (`decide`); past the deadline, or at once while the breaker is open, the configured default is
answered and recorded as soon as the database is back. What was answered is what is kept, and what a repeat gets.
"""

import asyncio
import time
from collections.abc import Callable

import asyncpg
import msgspec
import structlog
from prometheus_client import Counter, Histogram
from starlette.responses import Response

from app.flow.decide import Answer, Ask, Decider
from app.flow.late import DATA_ERRORS, LOST, Breaker, LateRecords, Unreadable
from app.machines import decision
from app.machines.decision import Approve, Decline
from app.machines.programme import HARD_CAP, Authorization
from app.machines.purchase import request_of
from app.store.db import Pool
from app.store.decisions import Decided
from app.stripe.body import ANYTHING, decoded
from app.stripe.envelope import Envelope

LOG = structlog.get_logger()

# For `open_pool(settings=...)`: nothing here outlives Stripe's patience, and plans neither cost time nor grow old.
SESSION = {
    "statement_timeout": "1500ms",
    "lock_timeout": "100ms",
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
        self._deadline_s = deadline_ms / 1000
        self._default_approve = default_approve
        self._version = version
        self._clock = clock
        self._breaker = Breaker()
        self._late = LateRecords(pool, self._breaker, kept_max=late_max)
        self._decider = Decider(pool, rules, patience_s=self._deadline_s, clock=clock)

    async def answer(self, envelope: Envelope, body: bytes) -> Response:
        """Decide one request, and answer it within the deadline in any case."""
        begun = time.perf_counter_ns()
        try:
            request = request_of(_authorization(body))
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            answer = self._unreadable(envelope, body, error)
        else:
            answer = await self._answer(Ask(envelope, body, request, begun))
        _answered.labels(str(answer.approved).lower(), answer.reason).inc()
        _took.observe((time.perf_counter_ns() - begun) / 1e9)
        return self._response(answer)

    async def close(self, *, wait_s: float = 2.0) -> None:
        """Let what is under way end and write what waits, for at most ``wait_s``."""
        await self._decider.close(wait_s)
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
        deadline = asyncio.timeout(self._deadline_s - (time.perf_counter_ns() - ask.begun) / 1e9)
        try:
            async with deadline:
                answer = await self._decider.decide(ask)
        except Exception as error:  # noqa: BLE001  # Stripe waits: whatever it is, there is an answer
            if isinstance(error, DATA_ERRORS):
                return self._unreadable(ask.envelope, ask.body, error)
            if isinstance(error, (*LOST, asyncpg.PostgresError, TimeoutError)):
                self._breaker.failed()
            if not deadline.expired():
                LOG.warning("authorize.failed", error=repr(error))
            return self._default(ask, "deadline" if deadline.expired() else type(error).__name__)
        self._breaker.worked()
        return answer

    def _default(self, ask: Ask, why: str) -> Answer:
        """The configured default, never beyond the caps that need no database; recorded when the database is back."""
        request = ask.request
        room = min(HARD_CAP, self._rules.per_authorization) - request.held
        outcome: Approve | Decline = Decline(decision.NO_TIME)
        if self._default_approve and request.currency == "usd" and 0 <= request.amount <= room:
            outcome = Approve(request.amount, request.amount + request.extra, decision.NO_TIME)
        decided = ask.decided(outcome, {"rules": self._decider.version, "why": why}, self._clock())
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
    event = decoded(body, ANYTHING)
    data = event.get("data") if isinstance(event, dict) else None
    found = data.get("object") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise ValueError("no authorization in data.object")  # noqa: TRY004 - the body is wrong, not a type of ours
    return found
