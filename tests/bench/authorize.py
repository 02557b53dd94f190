"""Real-time authorizations while the server accepts other events: how long and how much, on empty tables and full ones.

The cost of a decision is processor time of the server and of the PostgreSQL backends that serve it, as is that of an
accepted event: the server runs with the events alone, then with both, and what it uses more is the decisions'. What full
tables add is small beside the noise of such a difference: there two databases, empty and full, take turns with decisions
alone, and each turn is compared with its neighbour.
"""

import asyncio
import itertools
import os
import shutil
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.store import embedded, schema
from tests.bench.processes import Report, cpu_s, load, serving, sql

EVENTS_PER_S, DECISIONS_PER_S = 2_000, 200
SECONDS = 5
ACCOUNTS = 2_000
WAITING_MAX = 400
"""Connections while nobody decides: as many as requests may wait for the deadline at once."""
GROWN_CARDS, GROWN_DECISIONS = 10_000, 100_000
FULL_CARDS, FULL_DECISIONS = 100_000, 1_000_000

# Accounts as the deliveries name them: acct_ and at least four digits, filled up with `a`.
_CARDS = """
WITH made AS (SELECT rpad('acct_' || lpad(n::text, 4, '0'), 18, 'a') AS account_id FROM generate_series(0, {0} - 1) AS n),
holder AS (
    INSERT INTO accounts (account_id, state, facts)
    SELECT account_id, 'live', jsonb_build_object('balance', jsonb_build_object(
               'available', jsonb_build_object('usdc', 1000000000), 'at', extract(epoch FROM now())::bigint * 1000))
      FROM made ON CONFLICT DO NOTHING
)
INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)
SELECT account_id, 'ic_1SDemo0001', 'card', 'active', '{{"cardholder": "ich_1", "spending_controls": {{}}}}', now()
  FROM made ON CONFLICT DO NOTHING
"""
_DECISIONS = """
INSERT INTO decisions (account_id, authorization_id, request_event_id, card_id, approved, reason, amount, currency,
                       requested, inputs, took_us, stripe_reason, stripe_approved, decided_at)
SELECT rpad('acct_' || lpad((n % {1})::text, 4, '0'), 18, 'a'), 'iauth_old' || n, 'evt_old' || n, 'ic_1SDemo0001', true,
       'approved', 100, 'usd', 100, '{{"held": 0, "history": 0, "category": "taxis", "reserved": 100}}', 900,
       'webhook_approved', true, now() - n % 200 * interval '1 day'
  FROM generate_series(1, {0}) AS n
"""
_DEBITS = """
INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)
SELECT account_id, 'rd_' || authorization_id, 'received_debit', 'succeeded', jsonb_build_object('authorization',
       authorization_id, 'amount', jsonb_build_object('value', 100, 'currency', 'usdc')), decided_at
  FROM decisions WHERE authorization_id LIKE 'iauth_old%'
"""
_EMPTY = "TRUNCATE events, accounts, objects, journal, decisions, decision_turns CASCADE"
_BACKENDS = (
    "SELECT array_agg(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = '{0}'"
)
_DEFAULTED = "SELECT count(*) FROM decisions WHERE reason = 'no_decision_in_time'"


@dataclass
class Measured:
    """One round: microseconds of processor time an event and a decision cost, and how long decisions took."""

    event_us: float
    decision_us: float
    database_us: float
    took: dict[str, Any]


def authorize(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """200 decisions a second beside 2,000 events a second; then with full tables (a tenth of it without --full)."""
    sql(dsn, _EMPTY, _CARDS.format(ACCOUNTS))
    with serving(dsn) as (port, pid):
        _warm(port)
        empty = [_round(dsn, port, pid) for _ in range(rounds)]
    _held_against_limits(empty, int(sql(dsn, _DEFAULTED)), report)
    _grown(dsn, report, rounds, *((FULL_CARDS, FULL_DECISIONS) if full else (GROWN_CARDS, GROWN_DECISIONS)))
    sql(dsn, _EMPTY, "CHECKPOINT")


def _grown(dsn: str, report: Report, rounds: int, cards: int, kept: int) -> None:
    """The same decisions on an empty database and on one that holds ``kept`` decisions of ``cards`` cards, by turns."""
    grown = dsn.replace("/cardrail?", "/cardrail_grown?")
    sql(dsn, _EMPTY, _CARDS.format(ACCOUNTS))
    sql(dsn, "CREATE DATABASE cardrail_grown")
    try:
        asyncio.run(schema.ensure(grown))
        sql(grown, _CARDS.format(cards), _DECISIONS.format(kept, cards), _DEBITS, "VACUUM ANALYZE", "CHECKPOINT")
        with serving(dsn) as small, serving(grown) as large:
            _warm(small[0])
            _warm(large[0])
            turns = [(_alone(dsn, *small), _alone(grown, *large)) for _ in range(rounds * 2)]
    finally:
        sql(dsn, "DROP DATABASE IF EXISTS cardrail_grown WITH (FORCE)")
    few, many = (statistics.median(turn[n] for turn in turns) for n in (0, 1))
    print(f"authorize, {kept:,} decisions kept of {cards:,} cards: a decision {many:.0f} us CPU, {few:.0f} with none")
    ratio = statistics.median(many / few for few, many in turns)
    report.at_most(f"cost of a decision with {kept:,} kept, against none", ratio, 1.2)


def _warm(port: int) -> None:
    load(port, "snapshot", 1_000)
    load(port, "purchase", 1_000)


def _alone(dsn: str, port: int, pid: int) -> float:
    """Microseconds of processor time that a decision costs server and database when nothing else happens."""
    decisions = DECISIONS_PER_S * SECONDS
    before = _used(dsn, pid)
    load(port, "purchase", decisions, rate=DECISIONS_PER_S)
    after = _used(dsn, pid)
    return (after[0] - before[0] + after[2] - before[2]) / decisions * 1e6


def _round(dsn: str, port: int, pid: int) -> Measured:
    """The events alone, then both, then the events alone again: what drifts in between weighs on neither side."""
    events, decisions = EVENTS_PER_S * SECONDS, DECISIONS_PER_S * SECONDS
    used = [_used(dsn, pid)]
    load(port, "snapshot", events, rate=EVENTS_PER_S)
    used.append(_used(dsn, pid))
    with ThreadPoolExecutor() as both:
        other = both.submit(load, port, "snapshot", events, rate=EVENTS_PER_S)
        took = load(port, "purchase", decisions, rate=DECISIONS_PER_S)
        other.result()
    used.append(_used(dsn, pid))
    load(port, "snapshot", events, rate=EVENTS_PER_S)
    used.append(_used(dsn, pid))
    first, together, last = ([b - a for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(used))
    server, storing = (first[0] + last[0]) / 2, (first[1] + last[1]) / 2
    decision_us = (together[0] - server + together[2]) / decisions * 1e6
    return Measured((server + storing) / events * 1e6, decision_us, together[2] / decisions * 1e6, took)


def _used(dsn: str, pid: int) -> tuple[float, float, float]:
    """Processor seconds so far: of the server, of the backends that store events, of those that serve decisions."""
    families = (sql(dsn, _BACKENDS.format(name)) or [] for name in ("receive", "authorize"))
    receive, deciding = (sum(cpu_s(backend) for backend in family) for family in families)
    return cpu_s(pid), receive, deciding


def _held_against_limits(empty: list[Measured], defaulted: int, report: Report) -> None:
    print(f"authorize, empty tables: {_told(empty)}; load {os.getloadavg()[0]:.1f}")
    report.at_most("decision p99 beside 2,000 events/s, ms", _median(empty, lambda one: one.took["p99_ms"]), 50)
    report.at_most("decision at most, ms", max(one.took["max_ms"] for one in empty), 500)
    report.at_most("decisions that the default answered", defaulted, 0)
    times = _median(empty, lambda one: one.decision_us / one.event_us)
    report.at_most("cost of a decision, times an accepted event's", times, 3)


def _told(rounds: list[Measured]) -> str:
    event, decision, database, p50, p99 = (
        _median(rounds, part)
        for part in (
            lambda one: one.event_us,
            lambda one: one.decision_us,
            lambda one: one.database_us,
            lambda one: one.took["p50_ms"],
            lambda one: one.took["p99_ms"],
        )
    )
    return f"a decision {decision:.0f} us CPU ({database:.0f} in PostgreSQL), an event {event:.0f}; p50 {p50:.1f}, p99 {p99:.1f} ms"


def _median(rounds: list[Measured], part: Callable[[Measured], float]) -> float:
    return statistics.median(part(one) for one in rounds)


def stopped(_dsn: str, report: Report, rounds: int, full: bool) -> None:
    """PostgreSQL frozen, then ended, under 200 decisions a second: every request is answered within 2 s, and kept later."""
    for how, stop in (("frozen", _freeze), ("ended", _end)):
        folder = Path(tempfile.mkdtemp(prefix="cardrail-bench-stopped-"))
        try:
            took, missing = _under_load(folder, stop)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"PostgreSQL {how} under load: p50 {took['p50_ms']:.1f}, p99 {took['p99_ms']:.1f} ms")
        report.at_most(f"answer with PostgreSQL {how}, at most, ms", took["max_ms"], 2_000)
        report.at_most(f"answers not kept after PostgreSQL was {how}", missing, 0)


def _under_load(folder: Path, stop: Callable[[embedded.Embedded], None]) -> tuple[dict[str, Any], int]:
    postgres = embedded.start(folder)
    try:
        asyncio.run(schema.ensure(postgres.dsn()))
        sql(postgres.dsn(), _CARDS.format(2_000))
        count = DECISIONS_PER_S * SECONDS * 2
        with serving(postgres.dsn()) as (port, _):
            threading.Timer(SECONDS / 2, stop, [postgres]).start()
            took = load(port, "purchase", count, rate=DECISIONS_PER_S, connections=WAITING_MAX)
            postgres = embedded.start(folder)
            return took, _missing(postgres.dsn(), count, 30)
    finally:
        embedded.stop(postgres, mode="immediate")


def _missing(dsn: str, count: int, within_s: float) -> int:
    """How many decisions are not kept, once all are or patience ends."""
    until = time.monotonic() + within_s
    while True:
        kept = int(sql(dsn, "SELECT count(*) FROM decisions"))
        if kept >= count or time.monotonic() > until:
            return count - kept
        time.sleep(0.2)


def _freeze(postgres: embedded.Embedded) -> None:
    """Stop every backend of the server's decisions for as long as the load lasts, then let them go on."""
    pids: list[int] = sql(postgres.dsn(), _BACKENDS.format("authorize"))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(SECONDS)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def _end(postgres: embedded.Embedded) -> None:
    embedded.stop(postgres, mode="immediate")
