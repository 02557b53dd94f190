"""decide: judges the requests that wait at one moment together, in two statements: read the facts, record the decisions.

The rule: a decision is recorded only if no other decision of its account came after its facts were read; otherwise it is
made again. Nothing is locked in between, no worker's row is touched, and requests of different accounts share the round
trips. Alone a request waits for nobody; under load batches begin at most every ``GATHER_S``, so that each has several.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

import asyncpg
import msgspec

from app.flow.late import DATA_ERRORS, LOST
from app.machines import decision
from app.machines.decision import Approve, Decline, Snapshot
from app.machines.programme import Authorization, version_of
from app.machines.purchase import Request
from app.store import decision_facts, decisions
from app.store.db import Connection, Pool
from app.store.decision_facts import Earlier, Facts
from app.store.decisions import Decided
from app.stripe.envelope import Envelope

GATHER_S = 0.010
STUCK_S = 0.100
"""After this long a batch is taken for stuck, and the next one begins beside it."""
BATCH_MAX = 64
ROUNDS_MAX = 100
"""How often a decision is made again because another process decided for the same account meanwhile."""


class Answer(msgspec.Struct, frozen=True):
    """What Stripe is told: ``amount`` only where it is less than was asked for; ``decision`` is the request's event."""

    approved: bool
    reason: str
    decision: str
    amount: int | None = None


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
            approved=isinstance(outcome, Approve),
            reason=outcome.reason,
            amount=outcome.amount if isinstance(outcome, Approve) else 0,
            inputs={**inputs, **seen},
            took_us=(time.perf_counter_ns() - self.begun) // 1000,
            decided_at_ms=at_ms,
        )


class _Waiting(msgspec.Struct):
    """A request in the queue; times in seconds of the loop's clock."""

    ask: Ask
    done: asyncio.Future[Answer]
    since: float

    @property
    def account(self) -> str:
        return self.ask.envelope.account_id


class Decider:
    """Makes decisions on ``pool``, one at a time for one account. A batch that takes ``patience_s`` is given up."""

    def __init__(self, pool: Pool, rules: Authorization, *, patience_s: float, clock: Callable[[], int]) -> None:
        self._pool = pool
        self._rules = rules
        self.version = version_of(rules)
        self._patience_s = patience_s
        self._clock = clock
        self._idle_max = pool.get_max_size() - 1
        self._running_max = max(1, self._idle_max)
        self._waiting: deque[_Waiting] = deque()
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun_at = float("-inf")
        self._next: asyncio.Handle | None = None
        self._idle: list[Connection] = []

    def decide(self, ask: Ask) -> asyncio.Future[Answer]:
        """The answer, once it is recorded; whoever waits no longer cancels it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(_Waiting(ask, done, loop.time()))
        self._look()
        return done

    async def close(self, wait_s: float) -> None:
        """Let what is under way end, for at most ``wait_s``, and give the connections back."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=wait_s)
        while self._idle:
            await self._pool.release(self._idle.pop())

    def _look(self) -> None:
        """See to it that a batch begins when it may: what arrives in the same turn of the loop shares it."""
        if self._next is not None or len(self._tasks) >= self._running_max:
            return
        first = next((one for one in self._waiting if one.account not in self._busy), None)
        if first is None:
            return
        loop, at = asyncio.get_running_loop(), self._begun_at
        if self._tasks:
            at += STUCK_S
        elif first.since > at:  # else it waited for the batch before (the same account again), which is enough
            at += GATHER_S
        self._next = loop.call_at(at, self._begin) if loop.time() < at else loop.call_soon(self._begin)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._next, self._begun_at = None, loop.time()
        batch = self._next_batch()
        if batch:
            task = loop.create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._look()

    def _next_batch(self) -> list[_Waiting]:
        """The oldest request of each account that is not being decided; of those nobody waits for, none."""
        batch, rest = list[_Waiting](), deque[_Waiting]()
        while self._waiting:
            one = self._waiting.popleft()
            if one.done.done():
                continue
            if len(batch) < BATCH_MAX and one.account not in self._busy:
                self._busy.add(one.account)
                batch.append(one)
            else:
                rest.append(one)
        self._waiting = rest
        return batch

    async def _run(self, batch: list[_Waiting]) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._settle(batch)
        except Exception as error:  # noqa: BLE001  # whatever it is, each of them is told
            for one in batch:
                _fail(one, error)
        finally:
            self._busy.difference_update(one.account for one in batch)

    async def _settle(self, batch: list[_Waiting]) -> None:
        """Together; singly when one of them cannot be; once more on a fresh connection when ours turns out to be dead."""
        try:
            await self._decide(batch)
        except (*DATA_ERRORS, asyncpg.LockNotAvailableError) as error:
            if len(batch) > 1:
                await asyncio.gather(*(self._alone(one) for one in batch))
            elif isinstance(error, asyncpg.LockNotAvailableError) and not batch[0].done.done():
                await self._settle(batch)
            else:
                raise
        except LOST:
            await self._renew()
            await self._decide(batch)

    async def _renew(self) -> None:
        """What we kept is as dead as the one that failed."""
        await self._pool.expire_connections()
        while self._idle:
            await self._pool.release(self._idle.pop())

    async def _alone(self, one: _Waiting) -> None:
        try:
            await self._settle([one])
        except Exception as error:  # noqa: BLE001  # its own trouble, and nobody else's
            _fail(one, error)

    async def _decide(self, batch: list[_Waiting]) -> None:
        for _ in range(ROUNDS_MAX):
            left = [one for one in batch if not one.done.done()]
            if not left:
                return
            conn = self._idle.pop() if self._idle else await self._pool.acquire()
            try:
                await self._round(conn, left)
            except BaseException:
                conn.terminate()
                await self._pool.release(conn)
                raise
            if len(self._idle) < self._idle_max:  # one stays with the pool, for what is recorded late
                self._idle.append(conn)
            else:
                await self._pool.release(conn)
        msg = "others decide for the same account all the time"
        raise TimeoutError(msg)

    async def _round(self, conn: Connection, batch: list[_Waiting]) -> None:
        """Answer all whose decision could be recorded, or was made before."""
        now = self._clock()
        asked = [(one.account, one.ask.request) for one in batch]
        answers: dict[str, tuple[_Waiting, Answer]] = {}
        made: list[Decided] = []
        turns: list[int] = []
        for one, facts in zip(batch, await decision_facts.read(conn, asked, self._rules, now), strict=True):
            if (known := _repeated(facts.earlier, one.ask)) is not None:
                await _keep(conn, one.ask)
                _answer(one, Answer(known.approved, known.reason, known.event, known.amount if known.partial else None))
                continue
            outcome = decision.decide(facts.snapshot, one.ask.request, self._rules, now)
            made.append(one.ask.decided(outcome, self._inputs(facts), now))
            turns.append(facts.turn)
            partial = outcome.amount if isinstance(outcome, Approve) and outcome.partial else None
            answer = Answer(isinstance(outcome, Approve), outcome.reason, one.ask.envelope.event_id, partial)
            answers[one.account] = one, answer
        if made:
            for account in await decisions.record(conn, made, turns):
                _answer(*answers[account])

    def _inputs(self, facts: Facts) -> dict[str, object]:
        return {"rules": self.version, **inputs_of(facts.snapshot)}


def inputs_of(snapshot: Snapshot) -> dict[str, object]:
    """The balances and sums that a decision is kept with."""
    return {
        "available": snapshot.available,
        "balance_at": snapshot.balance_at,
        "open": snapshot.open,
        "authorized": snapshot.authorized,
        "velocity_count": snapshot.velocity_count,
        "velocity_amount": snapshot.velocity_amount,
    }


def _answer(one: _Waiting, answer: Answer) -> None:
    if not one.done.done():
        one.done.set_result(answer)


def _fail(one: _Waiting, error: Exception) -> None:
    if not one.done.done():
        one.done.set_exception(error)


def _repeated(earlier: Sequence[Earlier], ask: Ask) -> Earlier | None:
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
