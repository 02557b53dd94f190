"""Scenarios run the real processes: sandbox, server and worker, on a database of the test's own, over HTTP."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.demo.fleet import Drive, Member
from app.demo.processes import Processes, running
from app.store import db, embedded
from tests.conftest import cloned
from tests.patience import PATIENCE_S


@dataclass
class World:
    """The running parts and clients of both sides."""

    parts: Processes
    api: httpx.AsyncClient
    sandbox: httpx.AsyncClient
    drive: Drive
    dsn: str
    folder: Path

    async def enroll(self, *members: Member, end: bool = True) -> None:
        """Enroll these members and, when ``end``, wait until each is where it must be."""
        self.drive.members = list(members)
        await self.drive.enroll()
        if end:
            await self.drive.run(PATIENCE_S, lambda _: None)

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.api.get(path)
        answer.raise_for_status()
        return dict(answer.json())


@contextlib.asynccontextmanager
async def opened(dsn: str, tmp_path: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[World]:
    """Start everything, and let the sandbox send its events to the server in both styles."""
    async with running(dsn, tmp_path, settings) as parts:
        headers = {"Authorization": f"Bearer {parts.key}"}
        async with (
            httpx.AsyncClient(base_url=parts.url, headers=headers, timeout=PATIENCE_S) as api,
            httpx.AsyncClient(base_url=parts.sandbox_url, timeout=PATIENCE_S) as sandbox,
        ):
            for style in ("thin", "snapshot"):
                body = {"url": f"{parts.url}/webhooks/stripe", "secret": parts.secret, "event_payload": style}
                (await sandbox.post("/_sandbox/destinations", json=body)).raise_for_status()
            yield World(parts, api, sandbox, Drive(api, sandbox, []), dsn, tmp_path)


@pytest_asyncio.fixture
async def world(dsn: str, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(dsn, tmp_path) as one:
        yield one


@contextlib.asynccontextmanager
async def shared(
    postgres: embedded.Embedded, template: str, folder: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[World]:
    """A running fleet on a database of its own, for many tests."""
    name = f"fleet_{folder.name.replace('-', '_')}"
    admin = await db.connect(postgres.dsn("postgres"))
    try:
        await admin.execute(cloned(name, template))
        async with opened(postgres.dsn(name), folder, settings) as one:
            yield one
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest_asyncio.fixture(scope="module")
async def fleet_world(
    postgres: embedded.Embedded, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One running fleet for all tests of a module."""
    async with shared(postgres, template, tmp_path_factory.mktemp("fleet")) as one:
        yield one


@pytest_asyncio.fixture(scope="session")
async def town(
    postgres: embedded.Embedded, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One running fleet for all tests of this process that mind only accounts of their own, and leave the sandbox, the
    platform and the brakes as they found them.
    """
    async with shared(postgres, template, tmp_path_factory.mktemp("town")) as one:
        yield one
