"""Destinations and delivery: signed anew at every attempt, retried with back-off, at least once, in no promised order."""

import asyncio
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from app.sandbox.faults import Faults
from app.sandbox.settings import SandboxSettings


class Deliverable(Protocol):
    """What the dispatcher needs to know of an event."""

    id: str
    type: str
    style: str
    account: str
    deliveries: dict[str, str]

    def pushed(self, version: str) -> bytes:
        """The body in the words of a version."""
        ...


@dataclass(slots=True)
class Destination:
    """Where events go. Empty ``types`` means all; ``version`` is the vocabulary of the names."""

    id: str
    url: str
    secret: str
    style: str
    version: str
    types: frozenset[str] = frozenset()
    own: bool = True
    connected: bool = True
    enabled: bool = True

    def wants(self, event: Deliverable, platform: str) -> bool:
        """Whether this event goes here."""
        if not self.enabled or self.style != event.style:
            return False
        if not (self.own if event.account == platform else self.connected):
            return False
        return not self.types or "*" in self.types or event.type in self.types


def signature(body: bytes, secret: str, at: int | None = None) -> str:
    """The ``Stripe-Signature`` header for these bytes, now."""
    moment = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class Dispatcher:
    """Sends every event to every destination that wants it until it is acknowledged or given up."""

    def __init__(self, settings: SandboxSettings, faults: Faults) -> None:
        self._settings, self._faults = settings, faults
        self.destinations: dict[str, Destination] = {}
        self.pending = 0
        self.delivered = self.attempts = self.given_up = 0
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(settings.webhook_concurrency_max)
        self._tasks: set[asyncio.Task[None]] = set()

    def count(self, style: str) -> int:
        """How many enabled destinations take this style."""
        return sum(d.enabled and d.style == style for d in self.destinations.values())

    def send(self, event: Deliverable) -> None:
        """Hand an event to all destinations that want it."""
        for destination in self.destinations.values():
            if destination.wants(event, self._settings.platform_account):
                self.deliver(event, destination)

    def deliver(self, event: Deliverable, destination: Destination) -> None:
        """Deliver to one destination; by the faults' will twice, late, or past its neighbours."""
        event.deliveries.setdefault(destination.id, "pending")
        faults = self._faults
        copies = 2 if faults.hits("duplicate") else 1
        for _ in range(copies):
            wait_s = 0.0
            if faults.hits("reorder"):
                wait_s += faults.rng.uniform(0.02, 0.2)
            if faults.hits("delay"):
                wait_s += faults.rng.uniform(0.2, 1.0)
            self.pending += 1
            task = asyncio.get_running_loop().create_task(self._until_done(event, destination, wait_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _until_done(self, event: Deliverable, destination: Destination, wait_s: float) -> None:
        settings = self._settings
        try:
            for attempt in range(settings.webhook_attempts_max):
                if wait_s:
                    await asyncio.sleep(wait_s)
                if destination.enabled and await self._attempt(event, destination):
                    event.deliveries[destination.id] = "delivered"
                    self.delivered += 1
                    return
                wait_s = min(settings.webhook_retry_max_s, settings.webhook_retry_s * 2**attempt)
                wait_s *= self._faults.rng.uniform(0.7, 1.3)
            if event.deliveries[destination.id] != "delivered":
                event.deliveries[destination.id] = "failed"
                self.given_up += 1
        finally:
            self.pending -= 1

    async def _attempt(self, event: Deliverable, destination: Destination) -> bool:
        if self._faults.hits("drop"):
            return False
        body = event.pushed(destination.version)
        async with self._slots:
            status, _, _ = await self.post(
                destination.url, body, destination.secret, timeout_s=self._settings.webhook_timeout_s
            )
        return 200 <= status < 300

    async def post(self, url: str, body: bytes, secret: str, *, timeout_s: float) -> tuple[int, bytes, dict[str, str]]:
        """One signed POST: (status, body, lower-case headers). Status 0: no connection; -1: no answer in time."""
        self.attempts += 1
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, secret),
            "User-Agent": "Stripe/1.0 (+sandbox)",
        }
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s), allow_redirects=False
            ) as answer:
                content = await answer.read()
                return answer.status, content, {name.lower(): value for name, value in answer.headers.items()}
        except TimeoutError:
            return -1, b"", {}
        except aiohttp.ClientError:
            return 0, b"", {}

    async def close(self) -> None:
        """Stop delivering."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
