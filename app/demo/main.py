"""Runs the demo: parts up, fleet enrolled, progress shown, summary told. Exit 0 only if all is as it must be."""

import asyncio
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table

from app.config import Settings
from app.demo import report
from app.demo.fleet import Drive, fleet
from app.demo.processes import Processes, running
from app.store import embedded, schema

DEADLINE_S = 120.0
KILL_S = 12.0
"""What a kill of either part may cost: on a busy machine a start takes seconds."""
FAULTS = {
    "duplicate": 0.1,
    "reorder": 0.1,
    "delay": 0.1,
    "drop": 0.05,
    "api_429": 0.02,
    "api_500": 0.02,
    "reply_lost": 0.02,
}
"""Probabilities of what the sandbox does wrong on purpose."""


def main(settings: Settings, *, accounts: int = 25, faults: bool = True, as_json: bool = False, kills: int = 0) -> int:
    """The whole demo; the exit code. ``kills`` is how often server and worker each are killed with -9 meanwhile."""
    return asyncio.run(_demo(settings, accounts, faults=faults, as_json=as_json, kills=kills))


async def _demo(settings: Settings, accounts: int, *, faults: bool, as_json: bool, kills: int) -> int:
    console = Console(file=sys.stderr if as_json else sys.stdout)
    folder = settings.data_dir / "demo"
    async with _database(folder) as dsn, running(dsn, folder) as parts:
        headers = {"Authorization": f"Bearer {parts.key}"}
        async with (
            httpx.AsyncClient(base_url=parts.url, headers=headers, timeout=10) as api,
            httpx.AsyncClient(base_url=parts.sandbox_url, timeout=10) as sandbox,
        ):
            found = await _drive(console, parts, api, sandbox, accounts, faults=faults, kills=kills)
        if as_json:
            sys.stdout.write(json.dumps(found, indent=2) + "\n")
        else:
            report.show(console, found, parts.url)
        return 1 if found["problems"] else 0


@asynccontextmanager
async def _database(folder: Path) -> AsyncIterator[str]:
    """A new embedded database for this run alone."""
    await asyncio.to_thread(_fresh, folder)
    server = await asyncio.to_thread(embedded.start, folder)
    try:
        await schema.ensure(server.dsn())
        yield server.dsn()
    finally:
        await asyncio.to_thread(embedded.stop, server)


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


async def _drive(
    console: Console,
    parts: Processes,
    api: httpx.AsyncClient,
    sandbox: httpx.AsyncClient,
    accounts: int,
    *,
    faults: bool,
    kills: int,
) -> dict[str, object]:
    started = time.monotonic()
    for style in ("thin", "snapshot"):
        body = {"url": f"{parts.url}/webhooks/stripe", "secret": parts.secret, "event_payload": style}
        (await sandbox.post("/_sandbox/destinations", json=body)).raise_for_status()
    door = {"url": f"{parts.url}/webhooks/stripe/authorizations", "secret": parts.secret}
    (await sandbox.put("/_sandbox/authorization_endpoint", json=door)).raise_for_status()
    if faults:
        (await sandbox.put("/_sandbox/faults", json=FAULTS)).raise_for_status()
    drive = Drive(api, sandbox, fleet(accounts))
    chaos = asyncio.create_task(_chaos(parts, api, kills))
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def progress(states: Counter[str]) -> None:
            live.update(_progress(states, time.monotonic() - started))

        deadline_s = DEADLINE_S + KILL_S * kills
        try:
            await drive.enroll()
            await drive.run(deadline_s, progress)
            await drive.rest(deadline_s)
        except TimeoutError:
            took_s = time.monotonic() - started
            console.print(f"[red]Not finished after {took_s:.0f} s.[/red]")
    await chaos
    (await sandbox.put("/_sandbox/faults", json=dict.fromkeys(FAULTS, 0.0))).raise_for_status()
    ledger = (await sandbox.get("/_sandbox/ledger")).json()
    return await report.summary(drive, ledger, parts.restarts, time.monotonic() - started)


async def _chaos(parts: Processes, api: httpx.AsyncClient, kills: int) -> None:
    """Kill server and worker in turn. On a busy machine a start takes longer than the pauses: a server that is not up yet
    is waited for, since killing that would only keep everybody out.
    """
    rng = random.Random(kills)
    for n in range(2 * kills):
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        await parts.ready(api, "/livez")
        parts.kill(("server", "worker")[n % 2])


def _progress(states: Counter[str], elapsed_s: float) -> Table:
    table = Table(title=f"{elapsed_s:4.1f} s", show_header=False, title_justify="left")
    for state, count in sorted(states.items()):
        table.add_row(state, "█" * count, str(count))
    return table
