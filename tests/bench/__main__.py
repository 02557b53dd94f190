"""Run the benches: `python -m tests.bench [--only accept|applied|lone|... ] [--rounds 3] [--full]`.

Systems take turns within each round, so that a noisy machine is noisy for all; the medians' ratios are held against the
limits of the issue, and the exit code is 1 when one is missed. `--full` adds what takes minutes: a table of a million events.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from app.store import db, embedded, schema
from tests.bench.authorize import authorize, stopped
from tests.bench.deliveries import Kind, template
from tests.bench.peers import peer, slow_disk
from tests.bench.processes import Report, cpu_s, drained, family_cpu_s, load, postmaster, product, rss_mb, server, sql
from tests.bench.reads import reads
from tests.bench.replaying import rebuild, replay

APPLIED = 25_000


def accept(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """Closed loop, 64 connections: deliveries stored per second."""
    counts = {"baseline": 1500, "bare": 25_000, "cardrail": 15_000}
    kinds: tuple[Kind, ...] = ("snapshot", "thin")
    rates: dict[tuple[str, str], list[float]] = {(name, kind): [] for name in counts for kind in kinds}
    costs: dict[tuple[str, str], list[tuple[float, float]]] = {(name, kind): [] for name in counts for kind in kinds}
    database = postmaster(dsn)
    for _ in range(rounds):
        for kind in kinds:
            for name, count in counts.items():
                with server(name, dsn) as (port, pid):
                    load(port, kind, max(300, count // 20))
                    before = cpu_s(pid), family_cpu_s(database)
                    rates[name, kind].append(load(port, kind, count)["rate"])
                    used = cpu_s(pid) - before[0], family_cpu_s(database) - before[1]
                    costs[name, kind].append((used[0] / count * 1e6, used[1] / count * 1e6))
                sql(dsn, "TRUNCATE events", "DROP TABLE IF EXISTS bench_events", "CHECKPOINT")
    for kind, share in (("snapshot", 0.3), ("thin", 0.5)):
        median = {name: statistics.median(rates[name, kind]) for name in counts}
        cpu = {name: [statistics.median(part) for part in zip(*costs[name, kind], strict=True)] for name in counts}
        print(
            f"accept, {kind}: "
            + ", ".join(
                f"{name} {rate:,.0f}/s ({cpu[name][0]:.0f} + {cpu[name][1]:.0f} us CPU)"
                for name, rate in median.items()
            )
        )
        report.at_least(f"accept {kind}, times the baseline", median["cardrail"] / median["baseline"], 10)
        report.at_least(f"accept {kind}, share of the bare HMAC", median["cardrail"] / median["bare"], share)


def applied(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """Closed loop, 64 connections, the service whole: events applied per second, until the last one is."""
    count, warm = APPLIED, 1000
    baseline: list[float] = []
    sustained: list[float] = []
    accepted: list[float] = []
    costs: list[tuple[float, float]] = []
    pending = lines = 0
    empty = "TRUNCATE events, accounts, objects, journal CASCADE"  # what other benches stored would be applied too
    sql(dsn, empty)
    for _ in range(rounds):
        with server("baseline", dsn) as (port, _pid):
            load(port, "authorization", 300)
            baseline.append(load(port, "authorization", 1500)["rate"])
        sql(dsn, "DROP TABLE IF EXISTS bench_events", "CHECKPOINT")
        with product(dsn) as (port, serving, worker):
            load(port, "authorization", warm)
            drained(dsn, 30)
            before = cpu_s(serving), cpu_s(worker)
            sent = load(port, "authorization", count)
            sustained.append(count / (drained(dsn, 60) - sent["begun"]))
            accepted.append(sent["rate"])
            costs.append(((cpu_s(serving) - before[0]) / count * 1e6, (cpu_s(worker) - before[1]) / count * 1e6))
        pending += count + warm - int(sql(dsn, "SELECT count(*) FROM events WHERE status = 'applied'"))
        once = "FROM journal WHERE machine = 'authorization'"  # an account's first event has a lifecycle line too
        lines += abs(count + warm - int(sql(dsn, f"SELECT count(*) {once}")))
        lines += int(sql(dsn, f"SELECT count(*) - count(DISTINCT (account_id, event_id)) {once}"))
        sql(dsn, empty, "CHECKPOINT")
    rate, least = statistics.median(sustained), statistics.median(baseline)
    server_us, worker_us = statistics.median(c[0] for c in costs), statistics.median(c[1] for c in costs)
    print(
        f"accept to applied: {rate:,.0f}/s (accepted {statistics.median(accepted):,.0f}/s; server {server_us:.0f},"
        f" worker {worker_us:.0f} us CPU), baseline accepts {least:,.0f}/s; load {os.getloadavg()[0]:.1f}"
    )
    report.at_least("accept to applied, times the baseline's accept", rate / least, 5)
    report.at_most("accepted and not applied in the end", pending, 0)
    report.at_most("journal lines missing, or twice for one event", lines, 0)


def latency(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """Open loop at 300/s, a third of what the baseline can do: latency from when a request was due."""
    found: dict[str, list[float]] = {"baseline": [], "cardrail": []}
    for _ in range(rounds):
        for name, p99 in found.items():
            with server(name, dsn) as (port, _pid):
                load(port, "snapshot", 300)
                p99.append(load(port, "snapshot", 900, rate=300)["p99_ms"])
    median = {name: statistics.median(p99) for name, p99 in found.items()}
    print("open loop 300/s, p99: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in median.items()))
    report.at_most("open loop p99, share of the baseline", median["cardrail"] / median["baseline"], 1)


LONE_TURNS = 4
"""Turns a round: a tenth of a millisecond is what a machine that others share differs by from one second to the next."""


def lone(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """One request at a time against one bare INSERT + commit on the same database."""
    ours, bare = [], []
    with server("cardrail", dsn) as (port, _pid):
        for _ in range(rounds * LONE_TURNS):
            load(port, "snapshot", 200, connections=1)
            ours.append(load(port, "snapshot", 1000, connections=1)["p50_ms"])
            bare.append(asyncio.run(_bare_inserts(dsn, 1000)))
    print(f"lone request: ack p50 {statistics.median(ours):.3f} ms, INSERT + commit {statistics.median(bare):.3f} ms")
    report.at_most("lone request, times a bare INSERT + commit", statistics.median(ours) / statistics.median(bare), 2)


async def _bare_inserts(dsn: str, count: int) -> float:
    connection = await db.connect(dsn)
    insert = await connection.prepare(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status)"
        " VALUES ('acct_bare', $1, 'webhook', 'x', 'snapshot', now(), $2, 'pending')"
    )
    body, took = template("snapshot"), []
    for _ in range(count):
        begun = time.perf_counter()
        await insert.fetch(uuid.uuid4().hex, body)
        took.append(time.perf_counter() - begun)
    await connection.close()
    return statistics.median(took) * 1000


def growth(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """A table of 10 k against one of 1 M events (100 k without --full), all through the door: cost and memory.

    Cost is processor time of server and database together, which a busy neighbour changes less than a rate.
    """
    target, chunk = (1_000_000, 50_000) if full else (100_000, 10_000)
    database = postmaster(dsn)
    with server("cardrail", dsn) as (port, pid):
        load(port, "thin", 10_000)
        small = _cost_us(port, pid, database, rounds)
        first = rss_mb(pid)
        while sql(dsn, "SELECT count(*) FROM events") < target:
            load(port, "thin", chunk)
        sql(dsn, "CHECKPOINT")
        large = _cost_us(port, pid, database, rounds)
        last = rss_mb(pid)
    print(f"growth to {target:,}: {small:.0f} -> {large:.0f} us CPU an event, server {first:.0f} MB -> {last:.0f} MB")
    report.at_most("cost per event, large table against small", large / small, 1.2)
    report.at_most("server memory, after against before", last / first, 1.1)
    sql(dsn, "TRUNCATE events")


def _cost_us(port: int, pid: int, database: int, rounds: int) -> float:
    costs = []
    for _ in range(rounds):
        before = cpu_s(pid) + family_cpu_s(database)
        load(port, "thin", 5_000)
        costs.append((cpu_s(pid) + family_cpu_s(database) - before) / 5_000 * 1e6)
    return statistics.median(costs)


BENCHES: dict[str, Callable[[str, Report, int, bool], None]] = {
    "accept": accept,
    "applied": applied,
    "latency": latency,
    "lone": lone,
    "growth": growth,
    "authorize": authorize,
    "stopped": stopped,
    "peer": peer,
    "slow-disk": slow_disk,
    "replay": replay,
    "rebuild": rebuild,
    "reads": reads,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=BENCHES, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cardrail-bench-"))
    report = Report()
    postgres = embedded.start(folder)
    try:
        asyncio.run(schema.ensure(postgres.dsn()))
        for name in options.only or BENCHES:
            BENCHES[name](postgres.dsn(), report, options.rounds, options.full)
    finally:
        embedded.stop(postgres)
        shutil.rmtree(folder, ignore_errors=True)
    missed = [what for what, _, _, held in report.lines if not held]
    print(
        f"{len(report.lines) - len(missed)} of {len(report.lines)} limits held"
        + "".join(f"\nmissed: {m}" for m in missed)
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
