"""Against the best peer, and on a slow disk: what the group commit is for.

The peer is the npm package @supabase/stripe-sync-engine, installed at a fixed version into a folder that is thrown away;
where there is no node or no registry, the bench says so and measures nothing. A slow disk is the real one with PostgreSQL
made to wait 1 ms before each flush of its log (`commit_delay`), which is what a disk that takes 1 ms looks like to it.
"""

import contextlib
import shutil
import socket
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.deliveries import SECRET
from tests.bench.processes import CONNECTIONS, Report, await_port, load, running, server, sql

PEER = "@supabase/stripe-sync-engine@0.48.5"
INSTALL_S = 180
SLOW_TURNS = 3
MANY = 256
SLOW_FLUSH_US = 1000


def peer(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """Closed loop, 64 connections, 3 KB charges: what the peer keeps best. Both store durably, one process each."""
    rates: dict[str, list[float]] = {"peer": [], "cardrail": []}
    with tempfile.TemporaryDirectory(prefix="cardrail-peer-") as folder:
        if not _installed(Path(folder)):
            print(f"peer: not measured, {PEER} could not be installed (it needs node and npm's registry)")
            return
        for _ in range(rounds):
            with _peer(Path(folder), dsn) as port:
                load(port, "charge", 1000)
                rates["peer"].append(load(port, "charge", 8000)["rate"])
            with server("cardrail", dsn) as (port, _pid):
                load(port, "charge", 1000)
                rates["cardrail"].append(load(port, "charge", 8000)["rate"])
            sql(dsn, "TRUNCATE events", "DROP SCHEMA IF EXISTS stripe CASCADE", "CHECKPOINT")
    ours, theirs = statistics.median(rates["cardrail"]), statistics.median(rates["peer"])
    print(f"peer, 3 KB charges: cardrail {ours:,.0f}/s, {PEER} {theirs:,.0f}/s")
    report.at_least("accept charges, times the npm peer", ours / theirs, 1.5)


def _installed(folder: Path) -> bool:
    if shutil.which("npm") is None:
        return False
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), PEER]
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(install, check=False, timeout=INSTALL_S, stdout=subprocess.DEVNULL).returncode == 0
    return False


@contextlib.contextmanager
def _peer(folder: Path, dsn: str) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    script = Path(__file__).with_name("peer.mjs")
    with running(["node", str(script), str(port), dsn, SECRET], cwd=folder) as process:
        await_port(port, process)
        yield port


def slow_disk(dsn: str, report: Report, rounds: int, full: bool) -> None:
    """The accept rate while each flush of PostgreSQL's log takes 1 ms longer, against the disk as it is.

    A client that waits for its answer waits for a flush, so 64 of them cannot keep a processor wholly busy beside flushes
    that follow one another at 1 ms: of them it is asked that they stay as far above the baseline (on the disk as it is)
    as 9,900/s are above 671. What the group commit itself loses shows with so many clients that some are always there.
    """
    rates: dict[tuple[int, int], list[float]] = {}
    baseline: list[float] = []
    try:
        for _ in range(rounds):
            with server("baseline", dsn) as (port, _pid):
                load(port, "snapshot", 300)
                baseline.append(load(port, "snapshot", 1000)["rate"])
            sql(dsn, "DROP TABLE IF EXISTS bench_events")
            with server("cardrail", dsn) as (port, _pid):
                for delay_us in (0, SLOW_FLUSH_US) * SLOW_TURNS:
                    sql(
                        dsn,
                        "ALTER SYSTEM SET commit_siblings = 0",
                        f"ALTER SYSTEM SET commit_delay = {delay_us}",
                        "SELECT pg_reload_conf()",
                    )
                    for clients in (CONNECTIONS, MANY):
                        load(port, "snapshot", 1000, connections=clients)
                        taken = load(port, "snapshot", 10_000, connections=clients)["rate"]
                        rates.setdefault((delay_us, clients), []).append(taken)
            sql(dsn, "ALTER SYSTEM RESET commit_delay", "SELECT pg_reload_conf()", "TRUNCATE events", "CHECKPOINT")
    finally:
        sql(
            dsn,
            "ALTER SYSTEM RESET commit_siblings",
            "ALTER SYSTEM RESET commit_delay",
            "SELECT pg_reload_conf()",
        )
    rate = {key: statistics.median(found) for key, found in rates.items()}
    for clients in (CONNECTIONS, MANY):
        fast, slow = rate[0, clients], rate[SLOW_FLUSH_US, clients]
        print(f"slow disk, {clients} clients: {fast:,.0f}/s, with 1 ms more for each flush {slow:,.0f}/s")
    slow, first = rate[SLOW_FLUSH_US, CONNECTIONS], statistics.median(baseline)
    report.at_least("accept with 1 ms flushes, times the baseline without", slow / first, 14.8)
    kept = rate[SLOW_FLUSH_US, MANY] / rate[0, MANY]
    report.at_least(f"accept with 1 ms flushes and {MANY} clients, share of the rate without", kept, 0.9)
