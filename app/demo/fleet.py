"""The fleet: who is enrolled, what each account must go through, and what stands at its end.

Talks to the service over its public API and to the sandbox over its control routes, like any outside program.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

PURCHASES = (1_250, 899, 2_301)
"""Cents of the three purchases that each live account makes."""

MOVED = frozenset({"posted"})
UNDER_WAY = (
    "/v1/events?status=pending",
    *(f"/v1/commands?status={status}" for status in ("pending", "in_flight", "unknown")),
)


@dataclass
class Member:
    """One account of the fleet. ``end`` is the state it must reach; ``fundings`` how many intents it needs."""

    reference: str
    country: str
    tag: str
    end: str
    fundings: int = 1
    enrollment: str | None = None
    account: str | None = None
    state: str = "requested"
    purchased: int = 0
    declined: list[str] = field(default_factory=list)
    closing: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.state == self.end


def fleet(size: int) -> list[Member]:
    """``size`` members, Mexico and Argentina in turn; the first three are the special ones."""
    tags = ["+kyc_restricted", "+payment_fails_once", ""] + [""] * size
    ends = ["restricted", "live", "closed"] + ["live"] * size
    return [
        Member(f"demo-{n + 1:03}", ("MX", "AR")[n % 2], tags[n], ends[n], fundings=2 if "fails" in tags[n] else 1)
        for n in range(size)
    ]


def enrollment(member: Member) -> dict[str, Any]:
    """The body of ``POST /v1/enrollments`` for a member."""
    number = member.reference[-3:]
    place = {"MX": ("Cancun", "ROO", "77500"), "AR": ("Rosario", "S", "2000")}[member.country]
    return {
        "reference": member.reference,
        "contact_email": f"owner{member.tag}@{member.reference}.example.com",
        "display_name": f"Taller {number}",
        "country": member.country,
        "entity_type": "individual",
        "cardholder": {
            "type": "individual",
            "name": f"Ana Demo {number}",
            "email": f"ana@{member.reference}.example.com",
            "phone_number": "+525500000000",
            "individual": {"first_name": "Ana", "last_name": "Demo", "dob": {"day": 1, "month": 11, "year": 1990}},
            "billing": {
                "address": {
                    "line1": "Calle 1",
                    "city": place[0],
                    "state": place[1],
                    "postal_code": place[2],
                    "country": member.country,
                }
            },
            "user_terms_acceptance": {"date": 1790000000, "ip": "192.0.2.10"},
        },
    }


class Drive:
    """Takes the fleet through its life and reads what came of it."""

    def __init__(self, api: httpx.AsyncClient, sandbox: httpx.AsyncClient, members: list[Member]) -> None:
        self._api = api
        self._sandbox = sandbox
        self.members = members
        self._began = datetime.now(UTC)

    async def enroll(self) -> None:
        """Ask for every account, twice over: the same reference is one enrollment."""
        for member in self.members:
            bodies = [await self._post("/v1/enrollments", enrollment(member)) for _ in range(2)]
            if bodies[0]["id"] != bodies[1]["id"]:
                msg = f"{member.reference}: the same reference made two enrollments"
                raise AssertionError(msg)
            member.enrollment = bodies[0]["id"]

    async def run(self, deadline_s: float, progress: Callable[[Counter[str]], None]) -> None:
        """Go on until every member is where it must be. Raises TimeoutError after ``deadline_s``."""
        async with asyncio.timeout(deadline_s):
            while not all(m.done for m in self.members):
                await asyncio.gather(*(self._look(m) for m in self.members))
                progress(Counter(m.state for m in self.members))
                await asyncio.sleep(0.25)
            while not await self._settled():
                progress(Counter(m.state for m in self.members))
                await asyncio.sleep(0.25)

    async def _look(self, member: Member) -> None:
        if member.account is None:
            found = await self._get(f"/v1/enrollments/{member.enrollment}")
            member.account = found.get("account")
            member.state = found.get("state", member.state) if member.account is None else member.state
        if member.account is None:
            return
        found = await self._get(f"/v1/accounts/{member.account}")
        if not found:
            return
        member.detail, member.state = found, found["state"]
        if member.state == "live" and not member.closing:
            await self._spend(member)

    async def _spend(self, member: Member) -> None:
        while member.purchased < len(PURCHASES):
            body = {"account": member.account, "amount": PURCHASES[member.purchased], "currency": "usd"}
            answer = await self._sandbox.post("/_sandbox/purchases", json=body)
            answer.raise_for_status()
            if not answer.json()["approved"]:
                member.declined.append(answer.json()["reason"])
                return
            member.purchased += 1
        if member.end == "closed" and await self._spent(member):
            answer = await self._sandbox.post(f"/_sandbox/accounts/{member.account}/close")
            answer.raise_for_status()
            member.closing = True

    async def _spent(self, member: Member) -> bool:
        """Whether every purchase is seen as an authorization and as a debit that succeeded."""
        authorizations = await self.objects(member, "authorization")
        debits = [d for d in await self.objects(member, "received_debit") if d["state"] == "succeeded"]
        return len(authorizations) >= len(PURCHASES) and len(debits) >= len(PURCHASES)

    async def _settled(self) -> bool:
        for member in self.members:
            if member.purchased:
                if not await self._spent(member):
                    return False
                member.detail = await self._get(f"/v1/accounts/{member.account}") or member.detail
                balance = member.detail.get("balance") or {}
                if (balance.get("available") or {}).get("value") != await self._left(member):
                    return False
        return True

    async def books(self, deadline_s: float) -> list[dict[str, Any]]:
        """The service's books of the platform and of every account since the start: whole and in balance, or as they are
        after ``deadline_s``.
        """
        platform = (await self._get("/v1/platform")).get("account")
        names = [name for name in (platform, *(m.account for m in self.members)) if name is not None]
        give_up = time.monotonic() + deadline_s
        while True:
            query = f"?from={self._began:%Y-%m-%d}&to={datetime.now(UTC):%Y-%m-%d}"
            found = [{"account": n, **await self._get(f"/v1/accounts/{n}/books{query}")} for n in names]
            if not any(map(off, found)) or time.monotonic() > give_up:
                return found
            await asyncio.sleep(0.25)

    async def rest(self, deadline_s: float) -> None:
        """Wait until no event and no command is under way. Raises TimeoutError after ``deadline_s``."""
        async with asyncio.timeout(deadline_s):
            while True:
                if not [path for path in UNDER_WAY if (await self._get(path)).get("data") != []]:
                    return
                await asyncio.sleep(0.25)

    async def _left(self, member: Member) -> int:
        """What the account must hold by its payments and debits."""
        paid = [p for p in await self.objects(member, "outbound_payment") if p["state"] in MOVED]
        return sum(value(p, "credited", "amount") for p in paid) - sum(PURCHASES[: member.purchased])

    async def objects(self, member: Member, kind: str) -> list[dict[str, Any]]:
        """All objects of one kind of a member's account."""
        page = await self._get(f"/v1/accounts/{member.account}/objects?kind={kind}&limit=200")
        return list(page.get("data", []))

    async def everything(self, path: str) -> list[dict[str, Any]]:
        """All rows of a list, page by page."""
        rows: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self._get(f"{path}{'&' if '?' in path else '?'}limit=200{cursor}")
            rows += page.get("data", [])
            if not page.get("next_cursor"):
                return rows
            cursor = f"&cursor={page['next_cursor']}"

    async def _get(self, path: str) -> dict[str, Any]:
        """GET as JSON; an empty answer while the server is being restarted or does not know it yet."""
        try:
            answer = await self._api.get(path)
        except httpx.TransportError:
            return {}
        return answer.json() if answer.is_success else {}

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        for _ in range(100):
            try:
                answer = await self._api.post(path, json=body)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                answer.raise_for_status()
                return dict(answer.json())
            await asyncio.sleep(0.1)
        msg = f"POST {path} was never answered"
        raise TimeoutError(msg)


def off(books: dict[str, Any]) -> str | None:
    """What is wrong with the books of an account, if anything. Without a financial account there is nothing to compare."""
    missing = books.get("entries_missing")
    if missing != 0:
        return f"books of {books['account']}: the entries of {missing} transactions are missing"
    if books["days"] and not books["balanced"]:
        apart = [(d["day"], d["currency"], d["difference"]) for d in books["days"] if not d["balanced"]]
        return f"books of {books['account']} are not Stripe's balance: {apart}"
    return None


def value(row: dict[str, Any], *names: str) -> int:
    """The first amount of these names in an object row (its fields stand beside id and state, or under ``data``)."""
    for source in (row, row.get("data") or {}):
        for name in names:
            amount = source.get(name)
            if isinstance(amount, dict) and "value" in amount:
                return int(amount["value"])
    return 0
