"""reconcile: reads live objects at Stripe and compares them with what we hold. A repair is a ``poll`` event.

Lists only tell which objects there are (they lag); what an object is, its own page tells. Nothing is ever updated in
place: what differs is appended to the account's log with the time of reading, and folded like anything else.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from app.config import vocabulary
from app.errors import NotFound
from app.flow.readings import PATHS
from app.flow.work import held
from app.machines.kernel import Object
from app.machines.lifecycle import GONE, Facts
from app.ops.facts import facts_read
from app.ops.parts import Actor, Parts
from app.store import audit, log, rebuilds, states, waiting
from app.stripe.client import Missing, Reading
from app.stripe.objects import observe
from app.stripe.outcome import TryAgain
from app.stripe.translate import account_include

LOG = structlog.get_logger()

LISTS = {
    "financial_account": "/v2/money_management/financial_accounts",
    "cardholder": "/v1/issuing/cardholders",
    "card": "/v1/issuing/cards",
}
"""What may exist at Stripe without our knowing: listed in the account's own context."""
FOLLOWED = ("outbound_payment", "outbound_transfer", "received_credit", "received_debit", "authorization", "dispute")
ENDED = ("posted", "failed", "canceled", "returned", "closed", "available", "succeeded", "reversed", "expired", "won")
LIST_PAGES_MAX = 5
AT_ONCE_MAX = 4
PAGE = 200
SHOWN_MAX = 100

NUDGE_AFTER_S = 10.0
NUDGE_ACCOUNTS_MAX = 50
NUDGE_WAIT_MAX_MS = 3_600_000
NUDGED_MAX = 20_000
WAITS_FOR = {
    "enrolled": ("account",),
    "onboarding": ("account",),
    "verifying": ("account",),
    "restricted": ("account",),
    "activated": ("account", "financial_account"),
    "provisioned": ("outbound_payment", "financial_account"),
    "funding": ("outbound_payment", "financial_account"),
    "funded": ("cardholder",),
    "cardholder_ready": ("card",),
}
"""Which objects a stage waits for."""


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """One object that is not at Stripe what it is here. ``how``: unknown, state, fields or gone."""

    account: str
    object_id: str
    kind: str
    how: str
    here: str | None
    there: str | None
    fields: list[str] = []


class Look(msgspec.Struct, kw_only=True):
    """What reading one account showed; ``raw`` are the objects that differ, with their time of reading."""

    read: int = 0
    drift: list[Drift] = []
    raw: list[tuple[dict[str, Any], int]] = []
    failed: list[str] = []


async def look(
    parts: Parts, account: str, facts: Facts, kinds: Sequence[str] | None = None, *, lists: bool = True
) -> Look:
    """Read what there is of an account (or only objects of these kinds) and compare. Writes nothing."""
    found = Look()
    wanted = await _known(parts, account, facts, kinds)
    if lists:
        for kind, path in LISTS.items():
            if account == parts.platform_account or (kinds is not None and kind not in kinds):
                continue
            try:
                rows = await parts.stripe.list_all(path, {}, account, page_max=LIST_PAGES_MAX)
            except TimeoutError as error:
                found.failed.append(f"{account}: {error}")
                continue
            wanted |= {str(row["id"]): kind for row in rows if row.get("id")}
    async with parts.pool.acquire() as conn:
        rows_here = await waiting.objects_named(conn, account, list(wanted))
    here = {row["object_id"]: held({**row, "account_id": account}) for row in rows_here}
    for object_id, kind in wanted.items():
        again = kind == "financial_account" and balance_is_old(facts)
        await _one(parts, found, account, object_id, kind, here.get(object_id), again=again)
    return found


def balance_is_old(facts: Facts) -> bool:
    """Whether money was posted after the balance was read: then the same balance, read now, says something new."""
    posted = [payment.at for payment in facts.fundings.values() if payment.status == "posted"]
    return bool(posted) and (facts.balance is None or facts.balance.at < max(posted))


async def _known(parts: Parts, account: str, facts: Facts, kinds: Sequence[str] | None) -> dict[str, str]:
    """Ids of the objects to read, with their kinds."""
    found: dict[str, str] = {}
    if account != parts.platform_account:
        found[account] = "account"
    if facts.financial_account is not None:
        found[facts.financial_account.id] = "financial_account"
    found |= {payment.id: "outbound_payment" for payment in facts.fundings.values() if payment.status not in GONE}
    if facts.cardholder is not None:
        found[facts.cardholder.id] = "cardholder"
    found |= {card.id: "card" for card in facts.cards.values() if card.status != "canceled"}
    async with parts.pool.acquire() as conn:
        rows = await waiting.open_objects(conn, account, FOLLOWED, ENDED)
    found |= {row["object_id"]: row["kind"] for row in rows}
    return {object_id: kind for object_id, kind in found.items() if kinds is None or kind in kinds}


async def _one(
    parts: Parts, found: Look, account: str, object_id: str, kind: str, here: Object | None, *, again: bool
) -> None:
    own = None if account == parts.platform_account else account
    contexts = {"account": (None,), "outbound_payment": (None, own)}.get(kind, (own,))
    include = account_include(vocabulary(parts.settings.stripe_api_version).configuration) if kind == "account" else ()
    answer: Reading | Missing | TryAgain | None = None
    at = 0
    for context in dict.fromkeys(contexts):
        at = parts.clock()
        answer = await parts.stripe.read(PATHS[kind] + object_id, context=context, include=include)
        if not isinstance(answer, Missing):
            break
    found.read += 1
    state = here.state if here else None
    match answer:
        case Reading(object=raw):
            drift = compare(account, here, raw, at)
            if drift is not None:
                found.drift.append(drift)
            if drift is not None or again:
                found.raw.append((raw, at))
        case Missing(code=code):
            found.drift.append(
                Drift(account=account, object_id=object_id, kind=kind, how="gone", here=state, there=code)
            )
        case _:
            found.failed.append(f"{account}: {kind} {object_id} could not be read")


def compare(account: str, here: Object | None, raw: dict[str, Any], at_ms: int) -> Drift | None:
    """How the live object differs from what we hold, if it does."""
    seen = observe(raw, at_ms, sure=True)
    if seen is None:
        return None
    there = msgspec.json.decode(msgspec.json.encode(seen.fields))
    if here is None:
        how, fields = "unknown", []
    else:
        fields = sorted(name for name, value in there.items() if here.data.get(name) != value)
        how = "state" if here.state != seen.status else "fields"
        if here.state == seen.status and not fields:
            return None
    return Drift(
        account=account,
        object_id=seen.object_id,
        kind=seen.kind,
        how=how,
        here=here.state if here else None,
        there=seen.status,
        fields=fields,
    )


async def append(parts: Parts, account: str, seen: Look) -> str | None:
    """Tell the account's log what was read, if anything differs. Returns the event's id."""
    if not seen.raw:
        return None
    at_ms = max(at for _, at in seen.raw)
    event_id = f"poll_{account}_{at_ms}"
    async with parts.pool.acquire() as conn, conn.transaction():
        await log.append(
            conn,
            account_id=account,
            event_id=event_id,
            source="poll",
            type="reconcile.read",
            happenings=(),
            at_ms=at_ms,
            objects=seen.raw,
        )
    return event_id


async def reconcile(
    parts: Parts,
    actor: Actor,
    *,
    yes: bool,
    account: str | None = None,
    progress: Callable[[int, int], None] = lambda _d, _t: None,
) -> dict[str, Any]:
    """Compare one account or all with Stripe; with ``yes`` append what differs. Raises NotFound."""
    accounts = [account] if account is not None else await _everyone(parts)
    limit, total, looks = asyncio.Semaphore(AT_ONCE_MAX), len(accounts), {}
    events: list[str] = []

    async def one(name: str) -> None:
        async with limit:
            async with parts.pool.acquire() as conn:
                row = (await states.load_accounts(conn, [name])).get(name)
            if row is None:
                raise NotFound(f"There is no account {name}.")
            looks[name] = await look(parts, name, facts_read(row["facts"]) or Facts())
            if yes and (made := await append(parts, name, looks[name])):
                events.append(made)
        progress(len(looks), total)

    await asyncio.gather(*(one(name) for name in accounts))
    report = _report(looks, events, yes=yes)
    if yes:
        async with parts.pool.acquire() as conn:
            result = {name: report[name] for name in ("read", "by_kind", "events")}
            await audit.note(
                conn, who=actor.who, action="reconcile", target=account or "all", reason=actor.reason, result=result
            )
    return report


def _report(looks: Mapping[str, Look], events: list[str], *, yes: bool) -> dict[str, Any]:
    drift = [d for seen in looks.values() for d in seen.drift]
    by_kind: dict[str, int] = {}
    for one in drift:
        by_kind[f"{one.kind}.{one.how}"] = by_kind.get(f"{one.kind}.{one.how}", 0) + 1
    return {
        "accounts": len(looks),
        "read": sum(seen.read for seen in looks.values()),
        "dry_run": not yes,
        "by_kind": by_kind,
        "drift": [msgspec.to_builtins(d) for d in drift[:SHOWN_MAX]],
        "failed": [line for seen in looks.values() for line in seen.failed][:SHOWN_MAX],
        "events": events,
    }


async def _everyone(parts: Parts) -> list[str]:
    found: list[str] = []
    async with parts.pool.acquire() as conn:
        after = ""
        while page := await rebuilds.accounts_after(conn, after, PAGE):
            found += page
            after = page[-1]
    return found


class Nudger:
    """The safety net when Stripe never sends an event: reads exactly what silent accounts wait for.

    An account that was read in vain is read again ever later, an hour at most. Any number of processes may run it.
    """

    def __init__(self, parts: Parts, *, after_s: float = NUDGE_AFTER_S) -> None:
        self._parts = parts
        self._after_s = after_s
        self._again: dict[str, tuple[float, int]] = {}

    async def poll(self) -> bool:
        """Read what a few silent accounts wait for. True when that told something new."""
        now = self._parts.clock()
        if len(self._again) > NUDGED_MAX:
            self._again.clear()
        skip = [account for account, (due, _) in self._again.items() if due > now]
        async with self._parts.pool.acquire() as conn:
            rows = await waiting.silent(
                conn, states=list(WAITS_FOR), silent_s=self._after_s, limit=NUDGE_ACCOUNTS_MAX, skip=skip
            )
        told = False
        for row in rows:
            account, facts = row["account_id"], facts_read(row["facts"]) or Facts()
            _, times = self._again.get(account, (0.0, 0))
            wait = min(self._after_s * 1000 * 2**times, NUDGE_WAIT_MAX_MS)
            self._again[account] = (now + wait, min(times + 1, 20))
            seen = await look(self._parts, account, facts, WAITS_FOR[row["state"]])
            if await append(self._parts, account, seen):
                told = True
                LOG.info("reconcile.nudged", account=account, state=row["state"], drift=len(seen.drift))
        return told
