"""The running service with a sandbox behind it, for outsiders that know nothing but openapi.yaml. One per process."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.demo.processes import Processes, running
from app.store import db, embedded
from tests.conftest import cloned
from tests.patience import PATIENCE_S

DESCRIPTION = Path(__file__).resolve().parents[2] / "openapi.yaml"
SETTINGS = {"CARDRAIL_RATE_LIMIT_PER_S": "0", "CARDRAIL_RECEIVERS": "any"}
_numbers = itertools.count(1)


@dataclass
class Live:
    """Server, worker and sandbox; ``pool`` reaches into their database to lay out what a test needs."""

    parts: Processes
    pool: asyncpg.Pool


@pytest_asyncio.fixture(scope="session")
async def live(
    postgres: embedded.Embedded, admin: db.Connection, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Live]:
    name = f"contract{next(_numbers)}"
    await admin.execute(cloned(name, template))
    dsn = postgres.dsn(name)
    async with running(dsn, tmp_path_factory.mktemp("contract"), SETTINGS) as parts:
        async with httpx.AsyncClient(base_url=parts.sandbox_url, timeout=PATIENCE_S) as sandbox:
            for style in ("thin", "snapshot"):
                body = {"url": f"{parts.url}/webhooks/stripe", "secret": parts.secret, "event_payload": style}
                (await sandbox.post("/_sandbox/destinations", json=body)).raise_for_status()
        pool = await db.open_pool(dsn, size=2, name="contract")
        yield Live(parts, pool)
        pool.terminate()
