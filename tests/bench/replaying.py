"""Replaying and rebuilding, and what they cost those who are served meanwhile.

`replay`: a bulk job in mode state over everything that was just applied, against the rate at which it was applied; then
the same again and again while webhooks are accepted and purchases decided at a steady rate. `rebuild`: 10,000 accounts as
one check from the command line, its time and its memory.
"""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench.deliveries import PLATFORM, SECRET
from tests.bench.processes import ROOT, Report, drained, load, product, rss_mb, sql

EVENTS, EVENTS_FULL = 10_000, 100_000
FLEET = 10_000
STEADY_PER_S = 200
STEADY = 1_000
EMPTY = "TRUNCATE events, accounts, objects, journal, checkpoints, checkpoint_objects, outbox, decisions, replays"
JOB = (
    "INSERT INTO replays (id, state, mode, filter, rate, reason, by, total)"
    " SELECT '{name}_' || n, 'running', 'state', '{{\"source\": \"webhook\", \"status\": \"applied\"}}', 10000, 'bench', 'bench', 0"
    "   FROM generate_series(1, {jobs}) AS n"
)


def replay(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """One replay of all that was applied, and service beside replays that never end."""
    count = EVENTS_FULL if full else EVENTS
    sql(dsn, EMPTY)
    with product(dsn) as (port, _serving, worker):
        load(port, "authorization", 500)
        drained(dsn, 30)
        sent = load(port, "authorization", count)
        applied = count / (drained(dsn, 120) - sent["begun"])
        rates = [_replayed(dsn, count, n) for n in range(rounds)]
        rate = statistics.median(rates)
        alone = [_served(port) for _ in range(rounds)]
        with _replaying(dsn):
            beside = [_served(port) for _ in range(rounds)]
        differing = int(sql(dsn, "SELECT coalesce(sum(failed), 0) FROM replays"))
        memory = rss_mb(worker)
    print(f"replay of {count:,} in mode state: {rate:,.0f}/s, applied at {applied:,.0f}/s; worker {memory:.0f} MB")
    report.at_least("replay in mode state, share of the apply rate", rate / applied, 0.5)
    report.at_most("events of accounts that differ from their log", differing, 0)
    for n, what in enumerate(("accepting", "deciding")):
        before, during = (statistics.median(found[n] for found in measured) for measured in (alone, beside))
        print(f"{what} at {STEADY_PER_S}/s, p50: {before:.2f} ms, beside a replay {during:.2f} ms")
        report.at_most(f"{what} beside a replay, times alone", during / before, 1.2)
    sql(dsn, EMPTY, "CHECKPOINT")


def _replayed(dsn: str, count: int, n: int) -> float:
    """Events a second of one job, from when it was asked for until it is finished."""
    begun = time.monotonic()
    sql(dsn, JOB.format(name=f"rpl_{n}", jobs=1))
    done = f"SELECT done FROM replays WHERE id = 'rpl_{n}_1' AND state <> 'running'"
    until = begun + 300
    while (looked := sql(dsn, done)) is None and time.monotonic() < until:
        time.sleep(0.02)
    if looked is None or looked < count:
        raise SystemExit(f"the replay went through {looked} of {count} events")
    return int(looked) / (time.monotonic() - begun)


@contextlib.contextmanager
def _replaying(dsn: str) -> Iterator[None]:
    """So many jobs that the worker is at it for as long as the block lasts."""
    sql(dsn, JOB.format(name="rpl_beside", jobs=60))
    yield
    left = sql(
        dsn,
        "SELECT count(*) FROM replays WHERE state = 'running'",
        "UPDATE replays SET state = 'stopped' WHERE state = 'running' RETURNING (SELECT count(*) FROM replays)",
    )
    if not left:
        raise SystemExit("the replays ended before the load did")


def _served(port: int) -> tuple[float, float]:
    """p50 in milliseconds at a steady rate: webhooks accepted, purchases decided."""
    accepted = load(port, "authorization", STEADY, rate=STEADY_PER_S)
    decided = load(port, "purchase", STEADY, rate=STEADY_PER_S)
    return float(accepted["p50_ms"]), float(decided["p50_ms"])


def rebuild(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """The whole fleet as a check, in a process of its own."""
    sql(dsn, EMPTY)
    body = {"id": "evt_N", "object": "event", "account": "acct_N", "type": "issuing_card.created", "livemode": False}
    body |= {"created": 1_790_000_000}
    card = {"id": "ic_N", "object": "issuing.card", "status": "active", "last4": "4242", "cardholder": "ich_N"}
    plain = json.dumps(body | {"data": {"object": card}}).replace("'", "''")
    sql(
        dsn,
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status)"
        " SELECT 'acct_' || n, 'evt_' || n || '_' || k, 'webhook', 'issuing_card.created', 'snapshot', now(),"
        f"        convert_to(replace('{plain}', '_N', '_' || n || '_' || k), 'UTF8'), 'pending'"
        f"   FROM generate_series(1, {FLEET}) AS n, generate_series(1, 3) AS k",
    )
    with product(dsn) as _:
        drained(dsn, 120)
    ours = {"DATABASE_URL": dsn, "STRIPE_API_KEY": "sk_test_bench", "STRIPE_API_BASE": "http://127.0.0.1:9"}
    ours |= {"STRIPE_WEBHOOK_SECRETS": SECRET, "PLATFORM_ACCOUNT_ID": PLATFORM}
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | ours
    begun = time.monotonic()
    words = [sys.executable, "-m", "app", "accounts", "rebuild", "--json"]
    done = subprocess.run(words, cwd=ROOT, env=env, check=False, stdout=subprocess.PIPE)
    took = time.monotonic() - begun
    found = json.loads(done.stdout)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"rebuild of {found['accounts']:,} accounts, {found['events']:,} events: {took:.1f} s, at most {memory:.0f} MB"
    )
    report.at_least("accounts rebuilt", found["accounts"], FLEET)
    report.at_most("accounts that differ, or exit code", found["accounts"] - found["equal"] + done.returncode, 0)
    sql(dsn, EMPTY, "CHECKPOINT")
