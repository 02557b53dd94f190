"""Reading beside the spine: an account against a bare route, 304 against 200, deep pages, and many open streams."""

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from app.web.deps import encode_cursor
from tests.bench.deliveries import SECRET
from tests.bench.processes import ROOT, Report, cpu_s, rss_mb, running, server, serving, sql

CONNECTIONS = 32
GETS = 4_000
PAGES = 400
LIMIT = 50
PAGE = 1_000
STREAMS = 500
KEY = f"Authorization: Bearer {SECRET}"
UNLIMITED = {"CARDRAIL_ADMIN_KEY": SECRET, "CARDRAIL_RATE_LIMIT_PER_S": "0"}

_FACTS = {
    "enrolled": True,
    "state": "live",
    "capabilities": {f"money_manager.business_storage.inbound.{c}": {"status": "active"} for c in ("usdc", "usd")},
    "financial_account": {"id": "fa_1", "status": "open"},
    "balance": {"available": {"usdc": 10_000}, "at": 1_790_000_000_000},
    "cards": {"ic_1": {"id": "ic_1", "status": "active"}},
}


def gets(port: int, path: str, *headers: str, count: int = GETS, status: int = 200) -> float:
    """Answers per second in a closed loop."""
    command = [sys.executable, "-m", "tests.bench.readers", "gets", str(port), str(count), str(CONNECTIONS)]
    done = subprocess.run([*command, str(status), path, *headers], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return float(json.loads(done.stdout)["rate"])


def timed(port: int, pid: int, path: str, *headers: str, count: int = GETS, status: int = 200) -> tuple[float, float]:
    """Answers per second, and microseconds of the server's processor time for each."""
    before = cpu_s(pid)
    rate = gets(port, path, *headers, count=count, status=status)
    return rate, (cpu_s(pid) - before) / count * 1e6


def medians(found: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(rate for rate, _ in found), statistics.median(us for _, us in found)


def reads(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """Reading, in the server as it is run."""
    seed(dsn, 1_000_000 if full else 100_000)
    account(dsn, report, rounds)
    pages(dsn, report, rounds)
    streams(dsn, report)
    sql(dsn, "TRUNCATE accounts, events, journal")


def seed(dsn: str, rows: int) -> None:
    facts = json.dumps(_FACTS)
    sql(
        dsn,
        "INSERT INTO accounts (account_id, state, enrolled, country, facts)"
        f" SELECT 'acct_' || i, 'live', true, 'MX', '{facts}' FROM generate_series(1, 10000) i",
        "INSERT INTO events (account_id, event_id, source, type, kind, created, received_at, status, applied_seq)"
        " SELECT 'acct_' || i % 10000, 'evt_' || i, 'webhook', 'issuing_card.updated', 'snapshot', now(),"
        f" now() - i * interval '10 ms', 'applied', i FROM generate_series(1, {rows}) i",
        "VACUUM ANALYZE",
    )


def account(dsn: str, report: Report, rounds: int) -> None:
    """One account: ours and a bare FastAPI route take turns; then the same with the ETag that it has."""
    found: dict[str, list[tuple[float, float]]] = {"bare": [], "200": [], "304": []}
    for _ in range(rounds):
        with server("bare-read", dsn) as (port, pid):
            gets(port, "/accounts/acct_77", count=500)
            found["bare"].append(timed(port, pid, "/accounts/acct_77"))
        with serving(dsn, UNLIMITED) as (port, pid):
            path = "/v1/accounts/acct_77"
            gets(port, path, KEY, count=500)
            found["200"].append(timed(port, pid, path, KEY))
            tag = f"If-None-Match: {etag(port, path)}"
            found["304"].append(timed(port, pid, path, KEY, tag, status=304))
    median = {name: medians(measured) for name, measured in found.items()}
    print("an account: " + ", ".join(f"{name} {rate:,.0f}/s ({us:.0f} us CPU)" for name, (rate, us) in median.items()))
    report.at_least("an account, share of a bare route", median["200"][0] / median["bare"][0], 0.5)
    report.at_least("an account, bare route's CPU to ours", median["bare"][1] / median["200"][1], 0.5)
    report.at_most("304, CPU of a 200", median["304"][1] / median["200"][1], 1)


def etag(port: int, path: str) -> str:
    command = ["curl", "-sS", "-D", "-", "-o", os.devnull, "-H", KEY, f"http://127.0.0.1:{port}{path}"]
    head = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return next(line.split(": ", 1)[1].strip() for line in head.splitlines() if line.lower().startswith("etag:"))


def pages(dsn: str, report: Report, rounds: int) -> None:
    """Page 1 and page 1,000 of one list."""
    place = LIMIT * (PAGE - 1) - 1
    at = f"FROM events ORDER BY received_at DESC, event_id DESC, account_id DESC OFFSET {place} LIMIT 1"
    key = [sql(dsn, f"SELECT {name} {at}") for name in ("received_at", "event_id", "account_id")]
    first, deep = f"/v1/events?limit={LIMIT}", f"/v1/events?limit={LIMIT}&cursor={encode_cursor(key)}"
    found: dict[str, list[tuple[float, float]]] = {first: [], deep: []}
    with serving(dsn, UNLIMITED) as (port, pid):
        for _ in range(rounds):
            for path, measured in found.items():
                measured.append(timed(port, pid, path, KEY, count=PAGES))
    (one, one_us), (thousand, thousand_us) = medians(found[first]), medians(found[deep])
    rows = sql(dsn, "SELECT count(*) FROM events")
    print(
        f"a list of {rows:,}: page 1 {one:,.0f}/s ({one_us:.0f} us CPU), page {PAGE:,} {thousand:,.0f}/s ({thousand_us:.0f})"
    )
    report.at_most(f"page {PAGE:,}, times page 1", one / thousand, 1.5)


def streams(dsn: str, report: Report) -> None:
    """Many open streams: what they hold in memory, and how long after its commit a line has reached the last of them."""
    with serving(dsn, UNLIMITED) as (port, pid):
        gets(port, "/v1/accounts/acct_77", KEY, count=500)
        before = rss_mb(pid)
        command = [sys.executable, "-m", "tests.bench.readers", "streams", str(port), str(STREAMS)]
        with running(command, stdout=subprocess.PIPE) as readers:
            assert readers.stdout is not None
            assert readers.stdout.readline() == b"open\n"
            held, idle = rss_mb(pid) - before, cpu_s(pid)
            time.sleep(3)
            idle = (cpu_s(pid) - idle) / 3 * 100
            sql(
                dsn,
                "INSERT INTO journal (account_id, seq, machine, object_id, to_state, event_id, at)"
                " VALUES ('acct_77', 1, 'card', 'ic_1', 'active', 'evt_1', now())",
            )
            committed = time.time()
            told: dict[str, Any] = json.loads(readers.stdout.readline())
    lag = told["last"] - committed
    print(
        f"{told['lines']} streams: {held:.0f} MiB, {idle:.1f} % of a core idle, a line is everywhere after {lag * 1000:.0f} ms"
    )
    report.at_most(f"{STREAMS} streams, MiB", held, 100)
    report.at_most(f"{STREAMS} streams, seconds until a line is everywhere", lag, 1)
