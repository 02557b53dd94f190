"""A whole world in one process: the real sandbox over HTTP, a real database, and the workers turned by hand.

No webhook is sent: events come in by backfill, when a test says so. So a test decides what happens between two steps.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from app.config import Settings
from app.demo.fleet import Member, enrollment
from app.flow.apply import Applier
from app.flow.deliver import Deliverer
from app.ops import backfill, jobs, requests
from app.ops.parts import Actor
from app.sandbox import SandboxSettings
from app.stripe.client import Stripe
from app.wiring import Services, open_services
from tests.patience import PATIENCE_S
from tests.polls import polled
from tests.sandbox.conftest import Box

ME = Actor(who="test", reason="because")
PLATFORM = "acct_platform_sandbox"
LISTS = {
    "financial_account": "/v2/money_management/financial_accounts",
    "cardholder": "/v1/issuing/cardholders",
    "card": "/v1/issuing/cards",
}


class World:
    """The running parts and what a test does with them."""

    def __init__(self, services: Services, box: Box) -> None:
        self.services, self.box, self.pool = services, box, services.pool
        self.since = datetime.now(UTC)
        self.applier = Applier(
            services.pool,
            services.stripe,
            services.programme,
            platform_account=PLATFORM,
            vocabulary="money_manager",
            clock=services.clock,
        )
        self.replayer = jobs.Replayer(services)

    def deliverer(self) -> Deliverer:
        """A new one each time, as if its process had just started."""
        return Deliverer(
            self.pool,
            self.services.stripe,
            self.services.programme,
            platform_account=PLATFORM,
            platform_financial_account="fa_test_platform",
            version="2026-10-14.preview",
            clock=self.services.clock,
        )

    async def enroll(self, reference: str | None = None) -> str:
        """Ask for an account; the enrollment's id."""
        body = enrollment(Member(reference or f"r-{uuid4().hex[:10]}", "MX", "", "live"))
        async with self.pool.acquire() as conn, conn.transaction():
            made = await requests.enroll(
                conn, platform=PLATFORM, programme=self.services.programme, request=body, at_ms=self.services.clock()
            )
        return str(made["id"])

    async def account_of(self, enrolled: str) -> str | None:
        found = await self.pool.fetchval("SELECT data->>'account' FROM objects WHERE object_id = $1", enrolled)
        return None if found is None else str(found)

    async def state(self, account: str) -> str | None:
        found = await self.pool.fetchval("SELECT state FROM accounts WHERE account_id = $1", account)
        return None if found is None else str(found)

    async def act(self, account: str, action: str, params: dict[str, Any]) -> str:
        async with self.pool.acquire() as conn, conn.transaction():
            made = await requests.act(conn, account, action, params, at_ms=self.services.clock())
        return str(made["id"])

    # -- the workers, by hand ----------------------------------------------------------------------------------

    async def hear(self, account: str | None = None) -> int:
        """Bring in what Stripe has to tell of the platform and of one account; how many events were new."""
        accounts = [] if account is None else [account]
        found = await backfill.backfill(self.services, self.since, ME, yes=True, accounts=accounts)
        return found.new

    async def apply(self) -> None:
        """Fold all that is due."""
        while await polled(self.applier):
            pass

    async def deliver(self) -> None:
        """Send what is due now."""
        await polled(self.deliverer())

    async def later(self) -> None:
        """Let enough time pass that everything waiting is due, and the leases of the dead are over."""
        await self.pool.execute("UPDATE events SET due_at = now() WHERE status = 'pending'")
        await self.pool.execute("UPDATE outbox SET due_at = now() WHERE status IN ('pending', 'in_flight', 'unknown')")
        await self.pool.execute("UPDATE accounts SET lease_token = NULL, lease_until = NULL")

    async def turn(self, account: str | None = None) -> None:
        """One turn of everything."""
        await self.later()
        await self.hear(account)
        await self.apply()
        await self.deliver()

    async def waiting(self) -> int:
        """Events and commands that are not at their end."""
        query = (
            "SELECT (SELECT count(*) FROM events WHERE status = 'pending')"
            " + (SELECT count(*) FROM outbox WHERE status IN ('pending', 'in_flight', 'unknown'))"
        )
        return int(await self.pool.fetchval(query))

    async def live(self, enrolled: str, *, within_s: float = PATIENCE_S) -> str:
        """Turn until the account is live and nothing waits; its id."""
        async with asyncio.timeout(within_s):
            while True:
                account = await self.account_of(enrolled)
                await self.turn(account)
                if account and await self.state(account) == "live" and await self.quiet(account):
                    return account

    async def quiet(self, account: str) -> bool:
        """Whether Stripe has nothing under way or untold, and we neither."""
        idle = bool(self.box.control("GET", "idle?wait_s=2")["idle"])
        return idle and await self.hear(account) == 0 and await self.waiting() == 0

    # -- the judge ---------------------------------------------------------------------------------------------

    def fault(self, path: str, kind: str, times: int = 1) -> None:
        """The next calls to this path go wrong."""
        one = {"method": "POST", "path_prefix": path, "kind": kind, "times": times}
        self.box.control("PUT", "faults", {"targeted": [one]})

    def listed(self, path: str, account: str | None = None) -> list[dict[str, Any]]:
        """The rows of a list at Stripe."""
        headers = {} if account is None else {"Stripe_Context": account, "Stripe_Account": account}
        answer = self.box.call("GET", f"{path}?limit=100", None, **headers)
        assert answer.status_code == 200, answer.text
        return cast("list[dict[str, Any]]", answer.json()["data"])

    def calls(self, path: str) -> int:
        """How often Stripe was asked to make something there."""
        return int(self.box.control("GET", "requests")["requests"].get(f"POST {path}", 0))

    def made(self, account: str) -> dict[str, Any]:
        """What stands at Stripe for one account: objects by kind, and its money by the ledger."""
        payments = self.listed("/v2/money_management/outbound_payments")
        own = [p for p in payments if p["to"]["recipient"] == account]
        found: dict[str, Any] = {kind: len(self.listed(path, account)) for kind, path in LISTS.items()}
        found["outbound_payment"] = len(own)
        ledger = self.box.control("GET", "ledger")
        wallets = [f["id"] for f in self.listed(LISTS["financial_account"], account)]
        held = [
            ledger["accounts"].get(f"fa:{w}:{part}", {}) for w in wallets for part in ("available", "inbound_pending")
        ]
        found["usdc"] = sum(amounts.get("usdc", 0) for amounts in held)
        assert ledger["balanced"] is True
        return found


@contextlib.asynccontextmanager
async def opened(dsn: str, **sandbox: Any) -> AsyncIterator[World]:
    """A world on this database."""
    box = Box(SandboxSettings(**{"step_delay_s": 0.0, **sandbox}))
    settings = Settings.model_validate(
        {
            "DATABASE_URL": dsn,
            "STRIPE_API_KEY": "sk_test_sandbox",
            "STRIPE_API_BASE": box.url,
            "PLATFORM_ACCOUNT_ID": PLATFORM,
            "PLATFORM_FINANCIAL_ACCOUNT_ID": "fa_test_platform",
            "CARDRAIL_POOL_SIZE": "4",
        }
    )
    try:
        async with open_services(settings) as services:
            slow, services.stripe = (
                services.stripe,
                Stripe("sk_test_sandbox", box.url, "2026-10-14.preview", rate_per_s=1_000),
            )
            await slow.close()
            yield World(services, box)
            await services.stripe.close()
    finally:
        box.stop()
