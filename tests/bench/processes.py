"""What every bench needs: systems in processes of their own, load on them, what they cost, and the verdict."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.store import db
from tests.bench.deliveries import PLATFORM, SECRET, Kind

PATH = "/webhooks/stripe"
AUTHORIZATIONS_PATH = "/webhooks/stripe/authorizations"
CONNECTIONS = 64
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Report:
    """The lines of the verdict: what, measured, limit, held."""

    lines: list[tuple[str, float, str, bool]] = field(default_factory=list)

    def at_least(self, what: str, measured: float, limit: float) -> None:
        self._add(what, measured, f">= {limit:g}", held=measured >= limit)

    def at_most(self, what: str, measured: float, limit: float) -> None:
        self._add(what, measured, f"<= {limit:g}", held=measured <= limit)

    def _add(self, what: str, measured: float, limit: str, *, held: bool) -> None:
        self.lines.append((what, measured, limit, held))
        print(f"  {'ok  ' if held else 'MISS'} {what}: {measured:.2f} ({limit})", flush=True)


@contextlib.contextmanager
def server(name: str, dsn: str) -> Iterator[tuple[int, int]]:
    """One system in a process of its own; yields its port and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "tests.bench.systems", name, str(port), dsn]
    with running(command) as process:
        await_port(port, process)
        yield port, process.pid


@contextlib.contextmanager
def running(
    command: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT, stdout: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=stdout)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def product(dsn: str) -> Iterator[tuple[int, int, int]]:
    """The service as it is run: a server without workers and one worker, where no Stripe answers. Port, process ids."""
    with (
        serving(dsn) as (port, server_pid),
        running([sys.executable, "-m", "app", "worker"], _environment(dsn)) as worker,
    ):
        yield port, server_pid, worker.pid


@contextlib.contextmanager
def serving(dsn: str, more: Mapping[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """The server of the service alone, as it is run without workers. Port and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    serve = [sys.executable, "-m", "app", "serve", "--workers", "0", "--port", str(port)]
    with running(serve, _environment(dsn) | dict(more or {})) as process:
        await_port(port, process)
        yield port, process.pid


def _environment(dsn: str) -> dict[str, str]:
    ours = {"DATABASE_URL": dsn, "STRIPE_API_KEY": "sk_test_bench", "STRIPE_API_BASE": "http://127.0.0.1:9"}
    ours |= {"STRIPE_WEBHOOK_SECRETS": SECRET, "PLATFORM_ACCOUNT_ID": PLATFORM}
    ours |= {"CARDRAIL_LOG_LEVEL": "error"}
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | ours


def await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("a system did not start")


def load(
    port: int, kind: Kind, count: int, *, connections: int = CONNECTIONS, rate: float | None = None
) -> dict[str, Any]:
    """Send ``count`` fresh deliveries; every answer must be a 200."""
    command = [sys.executable, "-m", "tests.bench.load", str(port), kind, str(count), str(connections)]
    path = AUTHORIZATIONS_PATH if kind == "purchase" else PATH
    command += [f"{time.time_ns() // 1000:x}", path, *([str(rate)] if rate else [])]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["bad"]:
        raise SystemExit(f"{result['bad']} answers were not 200: {result['example']}")
    return result


def sql(dsn: str, *statements: str) -> Any:
    async def run() -> Any:
        connection = await db.connect(dsn)
        found = [await connection.fetchval(statement) for statement in statements]
        await connection.close()
        return found[-1]

    return asyncio.run(run())


def drained(dsn: str, within_s: float) -> float:
    """Seconds since the epoch when nothing was pending, or when patience ended: what is left is counted later."""

    async def run() -> float:
        connection = await db.connect(dsn)
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM events WHERE status = 'pending')"):
                break
            await asyncio.sleep(0.02)
        await connection.close()
        return time.time()

    return asyncio.run(run())


def postmaster(dsn: str) -> int:
    folder = sql(dsn, "SHOW data_directory")
    return int((Path(folder) / "postmaster.pid").read_text().split("\n", 1)[0])


def family_cpu_s(parent: int) -> float:
    """Processor time of a process, its living children, and those it has already buried."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    fields = Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()
    buried = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    total = cpu_s(parent) + buried
    for child in children:
        with contextlib.suppress(OSError):
            total += cpu_s(int(child))
    return total


def cpu_s(pid: int) -> float:
    """Processor time that a process has used: what a busy neighbour changes least."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
