"""What a bulk replay would do: its events folded in memory on the real state, account by account, and nothing written.

What is said is the first step only: which commands these events themselves would issue. What Stripe's answers to those
would lead to nobody knows beforehand.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from app.errors import Conflict
from app.ops import replay
from app.ops.parts import Parts
from app.store import replays


class Sum(msgspec.Struct):
    """How many, and how much money they move (minor units; USD and USDC count alike)."""

    count: int = 0
    amount: int = 0


class Forecast(msgspec.Struct, kw_only=True):
    """What a replay of many events would do; ``complete`` once every event was looked at.

    ``passed_over`` counts by the code that says why; commands count by kind; transitions as ``machine: from -> to``.
    """

    complete: bool = False
    events: int = 0
    accounts: int = 0
    compared: int = 0
    passed_over: dict[str, int] = {}
    unreadable: int = 0
    transitions: dict[str, int] = {}
    leaving: dict[str, Sum] = {}
    held_back: dict[str, Sum] = {}
    suppressed: dict[str, Sum] = {}

    @property
    def amount(self) -> int:
        """Minor units that would leave at once."""
        return sum(one.amount for one in self.leaving.values())

    def report(self) -> dict[str, Any]:
        """As plain data."""
        return {**msgspec.to_builtins(self), "amount": self.amount}

    def pass_over(self, code: str) -> None:
        self.passed_over[code] = self.passed_over.get(code, 0) + 1

    def take(self, planned: replay.Plan) -> None:
        """Add what one event would do."""
        self.unreadable += planned.unreadable is not None
        for line in planned.transitions:
            name = f"{line['machine']}: {line['from'] or '-'} -> {line['to']}"
            self.transitions[name] = self.transitions.get(name, 0) + 1
        for commands, known in (
            (planned.leaving, self.leaving),
            (planned.held_back, self.held_back),
            (planned.suppressed, self.suppressed),
        ):
            for command in commands:
                one = known.setdefault(command["kind"], Sum())
                one.count += 1
                one.amount += command["amount"] or 0


def of_one(planned: replay.Plan) -> Forecast:
    """The forecast of a job of one event."""
    found = Forecast(complete=True, events=1, accounts=1)
    found.take(planned)
    return found


def passed_over(row: Mapping[str, Any], mode: str, asked: str | None) -> str | None:
    """Why a job leaves this event alone, by its status or name; None when it does not.

    An ignored event is replayed only by a filter that says so; an applied one needs no ``resume``; a copy that ``force``
    appended once is not copied again beside its event, or each such job would double the log.
    """
    if row["status"] == "ignored" and asked != "ignored":
        return "event_ignored"
    if row["status"] != "applied" or mode == "state":
        return None
    if mode == "resume":
        return "event_applied"
    return "event_copied" if replay.COPY in row["event_id"] else None


async def foresee(
    conn: asyncpg.Connection,
    parts: Parts,
    asked: Mapping[str, Any],
    mode: str,
    before: datetime | None = None,
    progress: Callable[[Forecast], Awaitable[None]] | None = None,
) -> Forecast:
    """Go through all events of a filter. Needs a transaction; its isolation decides how much of one piece the state is."""
    found = Forecast()
    dry: replay.Dry | None = None
    async for page in replays.bodies(conn, asked, before):
        for row in _allowed(page, parts, found, mode, asked.get("status")):
            account = row["account_id"]
            if dry is None or dry.account != account:
                dry = await replay.Dry.open(conn, parts, account)
                found.accounts += 1
            found.take(await dry.plan(conn, row, mode))
        if progress is not None:
            await progress(found)
    found.complete = True
    return found


def _allowed(
    page: list[replays.Row], parts: Parts, found: Forecast, mode: str, asked: str | None
) -> Iterator[replays.Row]:
    for row in page:
        found.events += 1
        why = passed_over(row, mode, asked)
        try:
            replay.must_allow(row, mode, parts)
        except Conflict as error:
            why = why or error.code
        if why is not None:
            found.pass_over(why)
        elif mode == "state" and row["status"] == "applied":
            found.compared += 1
        else:
            yield row
