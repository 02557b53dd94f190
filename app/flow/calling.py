"""calling: the call of one command, and what came of it.

A lost reply is repeated under the same key, or read back where the key can no longer be trusted. A new key is earned only
by an answer that v1 replays, which shows that Stripe holds it and that the old key can make nothing any more: once by a
500, if read back nothing was made; and by the refusal of a step, once what the step needs is there. So of all keys of
one command at most one can ever succeed.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.config import vocabulary
from app.flow.readings import PATHS
from app.machines.commands import key_after_500, key_after_refusal
from app.machines.events import Observed
from app.machines.programme import Programme
from app.store import outbox
from app.store.db import Pool
from app.stripe.client import Reading, Stripe
from app.stripe.objects import observe
from app.stripe.outcome import Outcome, Rejected, Settled, TryAgain, Unknown, Waiting
from app.stripe.requests import Request
from app.stripe.translate import account_include

CALL_S = 20.0
LEASE_S = 30.0
"""A call begins with so long a lease, so it ends within it, and its outcome can be written."""
KEY_LIVES = {"v1": timedelta(hours=23), "v2": timedelta(days=29)}
"""How long Stripe surely remembers an idempotency key; past it an unknown outcome is read back, never repeated."""

STEPS = {"create_cardholder": "cardholder/", "create_card": "card/"}
"""The steps of the programme's that v1 takes, with the noun of their intents; what a holder asks for is not among them."""
NOT_READY = ("capability_not_active", "financial_account_not_open", "cardholder_not_active")
"""Why a refused step waits. Ours: Stripe's own codes for it are not documented, so it is read what is missing."""
NEEDED = frozenset({"account", "financial_account", "cardholder"})
"""Kinds of what it is read at; an event of one of them wakes the step."""
FINAL = frozenset({"rejected", "unsupported"})

Row = Mapping[str, Any]


class Park(Exception):
    """This command needs a human: why, in a stable code and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Stopped(Exception):
    """A hold or a brake was set since the command was claimed: it waits on, as if it had not been.

    ``called`` says that Stripe was asked before, so what came of it is not known.
    """

    def __init__(self, *, called: bool) -> None:
        super().__init__()
        self.called = called


class Lost(Exception):
    """The lease ended before the call: the command is another worker's, or was decided upon. Nothing may be sent."""


class Caller:
    """Makes the calls; holds nothing."""

    def __init__(self, pool: Pool, stripe: Stripe, programme: Programme, version: str) -> None:
        self._pool = pool
        self._stripe = stripe
        self._needed = programme.required_capabilities
        self._include = account_include(vocabulary(version).configuration)

    async def outcome(self, row: Row, request: Request) -> Outcome:
        """What came of the command. Raises Park where a person must decide, TimeoutError if Stripe cannot be read."""
        known, first = (row["error"] or {}).get("code"), row["first_call_at"]
        refused = known in NOT_READY
        if refused and (missing := await self._missing(request)) is not None:
            return missing
        replayed = known == "replayed_500"
        expired = first is not None and datetime.now(UTC) - first > KEY_LIVES[request.api]
        if replayed or (expired and not refused):
            return await self._read_back(row, request, renew=replayed)
        outcome = await self._call(row, request, row["idempotency_key"], called=first is not None)
        if isinstance(outcome, Unknown) and outcome.code == "replayed_500":
            return await self._read_back(row, request, renew=True)
        if isinstance(outcome, Rejected) and row["intent"].startswith(STEPS.get(row["kind"], "\0")):
            return await self._refused(row, request, outcome)
        return outcome

    async def _call(self, row: Row, request: Request, key: str, *, called: bool) -> Outcome:
        """The call; its turn among all others' may take seconds, so whoever stopped it meanwhile is heard then."""

        async def allowed() -> None:
            async with self._pool.acquire() as conn:
                if await outbox.stopped_by(conn, row["account_id"], row["kind"]):
                    raise Stopped(called=called)

        try:
            async with asyncio.timeout(CALL_S):
                return await self._stripe.call(request, key, allowed=allowed)
        except TimeoutError:
            return Unknown("timeout", f"no answer within {CALL_S:.0f} s")

    async def _read_back(self, row: Row, request: Request, *, renew: bool) -> Outcome:
        """Look whether the call took effect. If not, one new key may follow a stored 500; else a human decides."""
        made = await self._stripe.find_made(request, row["command_id"], row["first_call_at"] or row["created_at"])
        if made is not None:
            return Settled(object=made, object_id=str(made.get("id")), request_id=None)
        second = key_after_500(row["idempotency_key"])
        if not renew or second is None:
            raise Park(
                "outcome_unknown", "Stripe's answer was lost, nothing was found made, and no key is left to try."
            )
        return await self._under(row, request, second)

    async def _refused(self, row: Row, request: Request, outcome: Rejected) -> Outcome:
        """A step that was refused: it waits while something that it needs is missing; once all is there it goes again,
        under a new key if Stripe only repeated the old refusal.
        """
        missing = await self._missing(request)
        if missing is not None or not outcome.replayed:
            return missing or outcome
        again = await self._under(row, request, key_after_refusal(row["command_id"], row["idempotency_key"]))
        return (await self._missing(request) or again) if isinstance(again, Rejected) else again

    async def _under(self, row: Row, request: Request, key: str) -> Outcome:
        """Call under a new key, which is written before the call."""
        async with self._pool.acquire() as conn, conn.transaction():
            if not await outbox.renew_key(conn, row, key, lease_s=LEASE_S):
                raise Lost
            if await outbox.stopped_by(conn, row["account_id"], row["kind"]):
                raise Stopped(called=True)
        return await self._call(row, request, key, called=True)

    # -- what a step needs --------------------------------------------------------------------------------------

    async def _missing(self, request: Request) -> Waiting | TryAgain | None:
        """What the step needs and Stripe says is not there, as it may still come. A closed account gets nothing more."""
        account, params = str(request.context), request.params
        seen = await self._seen("account", account, None, self._include)
        if isinstance(seen, TryAgain) or (seen is not None and seen.status == "closed"):
            return seen if isinstance(seen, TryAgain) else None
        said = {} if seen is None else seen.fields.get("capabilities")
        found = {path: raw.get("status") for path, raw in said.items()} if isinstance(said, dict) else {}
        if FINAL & {found.get(path) for path in self._needed}:
            return None
        for path in self._needed if found else ():
            if found.get(path) != "active":
                return Waiting(NOT_READY[0], f"{path} is {found.get(path) or 'not there'}: refused until it is active.")
        for kind, name, status, code in (
            ("financial_account", "financial_account_v2", "open", NOT_READY[1]),
            ("cardholder", "cardholder", "active", NOT_READY[2]),
        ):
            seen = await self._seen(kind, params[name], account, ()) if name in params else None
            if isinstance(seen, TryAgain):
                return seen
            why = None if seen is None else seen.fields.get("disabled_reason")
            if seen is not None and seen.status not in ("closed", "blocked") and (seen.status != status or why):
                return Waiting(code, f"{seen.object_id} is {why or seen.status}: refused until it is {status}.")
        return None

    async def _seen(
        self, kind: str, object_id: str, context: str | None, include: tuple[str, ...]
    ) -> Observed | TryAgain | None:
        answer = await self._stripe.read(PATHS[kind] + object_id, context=context, include=include)
        return (
            observe(answer.object, 0, sure=True)
            if isinstance(answer, Reading)
            else (answer if isinstance(answer, TryAgain) else None)
        )
