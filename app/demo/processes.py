"""The processes of the demo: sandbox, server and worker, each killed and started again as chaos asks.

Everything they say goes to one log file, so the terminal stays readable and nothing is lost.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

START_MAX_S = 180.0
"""On a busy machine; a part that ends at its start is noticed at once."""
PORTS = range(10_000, 32_000)
"""Below those that systems give to outgoing connections: nothing takes a port between its choice and its use by chance."""


def free_port() -> int:
    """A port that nobody listens on right now."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Processes:
    """Starts, watches and kills the parts. ``key`` is an admin API key made for this run; ``settings`` are variables of
    the environment that they get beside their own.
    """

    def __init__(self, dsn: str, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.key = "crk_demo_" + secrets.token_urlsafe(24)
        self.port = free_port()
        self.sandbox_port = free_port()
        self.restarts = 0
        self._log = (folder / "demo.log").open("ab")
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        secret = "whsec_" + secrets.token_hex(16)
        self.secret = secret
        self._env = {
            **os.environ,
            "DATABASE_URL": dsn,
            "STRIPE_API_KEY": "sk_test_sandbox",
            "STRIPE_API_BASE": self.sandbox_url,
            "STRIPE_WEBHOOK_SECRETS": secret,
            "PLATFORM_ACCOUNT_ID": "acct_platform_sandbox",
            "PLATFORM_FINANCIAL_ACCOUNT_ID": "fa_test_platform",
            "CARDRAIL_ADMIN_KEY": self.key,
            "CARDRAIL_LOG_FORMAT": "json",
            **(settings or {}),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}"

    def start(self, name: str) -> None:
        """Start one part: ``sandbox``, ``server`` or ``worker``; all speak the version in ``STRIPE_API_VERSION``."""
        version = self._env.get("STRIPE_API_VERSION")
        words = ["--api-version", version] if version else []
        command = {
            "sandbox": ["-m", "app.sandbox", "--port", str(self.sandbox_port), *words],
            "server": ["-m", "app", "serve", "--port", str(self.port), "--workers", "0"],
            "worker": ["-m", "app", "worker"],
        }[name]
        self._running[name] = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, *command], env=self._env, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL
        )

    def kill(self, name: str) -> None:
        """Kill -9, and start again at once."""
        self._running[name].kill()
        self._running[name].wait()
        self.restarts += 1
        self.start(name)

    def died(self) -> str | None:
        """The name of a part that ended by itself, if any."""
        return next((name for name, process in self._running.items() if process.poll() is not None), None)

    async def ready(self, http: httpx.AsyncClient, url: str) -> None:
        """Return when ``url`` answers 200. Raises TimeoutError, or RuntimeError when a part died."""
        async with asyncio.timeout(START_MAX_S):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(url)).is_success:
                        return
                if (name := self.died()) is not None:
                    msg = f"{name} ended at its start: see {self._log.name}"
                    raise RuntimeError(msg)
                await asyncio.sleep(0.05)

    def stop(self) -> None:
        """End every part: politely, then for good."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()


@contextlib.asynccontextmanager
async def running(dsn: str, folder: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[Processes]:
    """All parts, ready to be talked to, and ended when the block ends."""
    parts = Processes(dsn, folder, settings)
    try:
        async with httpx.AsyncClient(timeout=5) as http:
            for name in ("sandbox", "server", "worker"):
                parts.start(name)
            await parts.ready(http, f"{parts.sandbox_url}/_sandbox/idle")
            await parts.ready(http, f"{parts.url}/readyz")
        yield parts
    finally:
        parts.stop()
