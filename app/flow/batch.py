"""Gathers what a batch of folded events leaves, and writes it in the applying transaction: a handful of statements."""

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import msgspec

from app.flow.work import Work
from app.machines.commands import command_id, idempotency_key
from app.machines.kernel import Object
from app.machines.links import linked
from app.machines.story import Handed, Story, Told
from app.store import decisions, ledger, links, log, outbox, states
from app.store.db import Connection
from app.stripe.translate import Stored


class _OfAccount(Protocol):
    account_id: str


T = TypeVar("T", bound=_OfAccount)


class Batch:
    """Gathers the rows of one applying transaction."""

    def __init__(self, stories: dict[str, Story], known: Mapping[str, states.Row], programme: str) -> None:
        self._stories = stories
        self._known = known
        self._programme = programme
        self._seq = {a: int(known[a]["seq"]) for a in stories}
        self._applied = {a: int(known[a]["applied"]) for a in stories}
        self._changed: set[str] = set()
        self.events: list[states.EventRow] = []
        self.lines: list[states.LineRow] = []
        self.commands: list[outbox.CommandRow] = []
        self.handed: list[tuple[Work, Handed]] = []
        self.objects: dict[tuple[str, str], states.ObjectRow] = {}
        self.links: dict[tuple[str, str, str], links.LinkRow] = {}

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
                programme=self._programme,
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
            for other in linked(after.kind, after.data):
                self.links[account, after.object_id, other] = links.LinkRow(account, after.object_id, other)
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

    def seen_available(self, account: str, currency: str) -> int:
        """What the account's financial accounts hold in this currency, as far as this batch has seen; 0 when not."""
        held = [r for (a, _), r in self.objects.items() if a == account and r.kind == "financial_account"]
        balances = [msgspec.json.decode(row.data).get("balance") or {} for row in held]
        return sum(int((balance.get("available") or {}).get(currency, 0)) for balance in balances)

    def seen(self, kinds: Container[str]) -> set[str]:
        """Accounts of which an object of these kinds has changed."""
        return {row.account_id for row in self.objects.values() if row.kind in kinds}

    async def write(self, conn: Connection, passed: set[str]) -> None:
        await states.close_events(conn, _of(self.events, passed))
        await _each(states.put_objects, conn, _of(self.objects.values(), passed))
        await _each(links.put, conn, _of(self.links.values(), passed))
        await self._write_ledger(conn, passed)
        await _each(states.write_journal, conn, _of(self.lines, passed))
        await _each(outbox.insert, conn, _of(self.commands, passed))
        await self._join_decisions(conn, passed)
        for one, handed in self.handed:
            if one.stored.account_id in passed:
                await _hand_on(conn, one, handed)

    async def _write_ledger(self, conn: Connection, passed: set[str]) -> None:
        """Keep balances as read, and ask for the entries of transactions that changed."""
        kinds = ("transaction", "adjustment")
        moved = {row.account_id for row in self.objects.values() if row.kind in kinds and row.account_id in passed}
        if moved:
            await ledger.mark(conn, sorted(moved))
        await _each(ledger.keep_balances, conn, _of(_balances(self.objects.values()), passed))

    async def _join_decisions(self, conn: Connection, passed: set[str]) -> None:
        """Join what Stripe recorded of an authorization with what we decided on it."""
        seen = {k: row for k, row in self.objects.items() if row.kind == "authorization" and k[0] in passed}
        decided = await states.decided(conn, list(seen)) if seen else []
        said = {key: msgspec.json.decode(row.data).get("request_history") or () for key, row in seen.items()}
        await decisions.record_stripe_all(conn, ((*key, said[key]) for key in decided))
        unasked = (said[key] for key in seen.keys() - set(decided) if seen[key].version == 1)
        decisions.count_unheard(unasked)


def _balances(rows: Iterable[states.ObjectRow]) -> list[ledger.BalanceRow]:
    found = []
    for row in rows:
        balance = msgspec.json.decode(row.data).get("balance") if row.kind == "financial_account" else None
        if isinstance(balance, dict):
            raw = msgspec.json.encode(balance)
            found.append(ledger.BalanceRow(row.account_id, row.object_id, row.observed_at, raw))
    return found


async def _hand_on(conn: Connection, one: Work, handed: Handed) -> None:
    """Write an event of this log into the log of the account that it concerns, with what was read for it.

    An enrollment that names its account must not name one that cannot be asked for yet, so the account is there at once.
    """
    enrolled = one.stored.type.startswith(("command.", "enrollment."))
    if enrolled:
        await states.open_logs(conn, [handed.account_id])
    objects = _about(one.stored, handed.account_id) if enrolled else []
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


def _about(stored: Stored, account_id: str) -> list[tuple[dict[str, object], int]]:
    """The account itself as it was read or answered: it opens the new log. What else was read is the platform's own."""
    answered = msgspec.json.decode(stored.payload).get("objects", ())
    entries = [*(entry for entry in (stored.fetched or {}).values() if "object" in entry), *answered]
    return [(e["object"], int(e["at"])) for e in entries if e["object"].get("id") == account_id][:1]


async def _each(write: Callable[[Connection, list[T]], Awaitable[None]], conn: Connection, rows: list[T]) -> None:
    if rows:
        await write(conn, rows)


def _of(rows: Iterable[T], passed: set[str]) -> list[T]:
    return [row for row in rows if row.account_id in passed]


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
