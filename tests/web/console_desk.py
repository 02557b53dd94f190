"""A browser without a screen: logs in, loads pages, fills in the forms that stand on them."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import httpx
import orjson

from app.wiring import Services
from tests.web.conftest import add_account
from tests.web.test_api_operations import add_command, add_event

HOSTILE = "<script>alert(1)</script>\"'&amp;"


class Form(dict[str, str]):
    """The hidden fields and the address of one form."""

    action = ""
    button = ""


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._in_button = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.found.append(Form())
            self.found[-1].action = given.get("action") or ""
        elif tag == "input" and given.get("type") == "hidden":
            self.found[-1][given["name"] or ""] = given.get("value") or ""
        self._in_button = tag == "button"

    def handle_endtag(self, tag: str) -> None:
        self._in_button = False

    def handle_data(self, data: str) -> None:
        if self._in_button and self.found:
            self.found[-1].button += data.strip()


def forms(page: str) -> dict[str, Form]:
    """The forms of a page by what stands on their button."""
    parser = _Forms()
    parser.feed(page)
    return {form.button: form for form in parser.found}


class Desk:
    """One person at the console."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def log_in(self, key: str) -> httpx.Response:
        page = await self.client.get("/console/login")
        form = forms(page.text)["Log in"]
        return await self.client.post("/console/login", data={**form, "key": key})

    async def see(self, path: str, status: int = 200) -> str:
        answer = await self.client.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text[-2000:])
        return answer.text

    async def fill(self, path: str, button: str, **fields: str) -> httpx.Response:
        """Load a page, fill its form in and send it."""
        form = forms(await self.see(path))[button]
        return await self.client.post(form.action, data={**form, **fields})

    async def done(self, path: str, button: str, **fields: str) -> str:
        """As :meth:`fill`, and the page that it leads to."""
        answer = await self.fill(path, button, **fields)
        assert answer.status_code == 303, answer.text[-2000:]
        return await self.see(answer.headers["location"])


def links(page: str) -> set[str]:
    """The pages of the console that a page leads to."""
    found = {href.replace("&amp;", "&") for href in re.findall(r'href="(/console/[^"#]*)"', page)}
    return {href for href in found if not href.startswith("/console/assets/")}


async def seed(services: Services) -> None:
    """A little of everything, with texts from outside that would like to be markup."""
    now = datetime.now(UTC)
    facts: dict[str, Any] = {
        "reference": HOSTILE,
        "cards": {"ic_1": {"id": "ic_1", "status": "active"}},
        "capabilities": {f"storage.{HOSTILE}": {"status": "active"}},
        "financial_account": {"id": "fa_1", "status": "open"},
        "balance": {"available": {"usdc": 12_345}, "at": 1_764_000_000_000},
    }
    await add_account(services.pool, "acct_1", facts=facts)
    old = now - timedelta(days=9)
    await add_account(services.pool, "acct_2", state="onboarding", since=old, country="AR", facts={})
    held = {"by": HOSTILE, "reason": HOSTILE, "at": 1_764_000_000_000}
    await add_account(services.pool, "acct_3", hold=held)
    error = {"code": "no_object", "message": HOSTILE}
    body = orjson.dumps({"id": "evt_1", "name": "Ana Sample", "note": HOSTILE})
    await add_event(services, "evt_1", payload=body)
    await add_event(services, "evt_bad", status="parked", error=error, type=HOSTILE)
    await add_event(services, "evt_worse", status="parked", error=error, type=HOSTILE)
    await add_command(services, "cmd_1", error={"code": "cap_exceeded", "message": HOSTILE}, amount=50, currency="usd")
    await add_command(services, "cmd_2", status="settled", object_id="ic_1")
    await services.pool.execute(
        "INSERT INTO journal (account_id, seq, machine, object_id, from_state, to_state, event_id, at, commands, note)"
        " VALUES ('acct_1', 1, 'card', 'ic_1', 'inactive', 'active', 'evt_1', now(), '[\"cmd_2\"]'::jsonb, $1)",
        HOSTILE,
    )
    await services.pool.executemany(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at) VALUES ($1, $2, $3, $4, $5, now())",
        [
            ("acct_1", "ic_1", "card", "active", {"last4": "4242", "nickname": HOSTILE}),
            ("acct_1", "fa_1", "financial_account", "open", {}),
            ("acct_1", "iauth_1", "authorization", "pending", {"card": "ic_1"}),
            ("acct_platform", "fa_platform", "financial_account", "open", {"balance": {"available": {"usd": 5}}}),
        ],
    )
    await services.pool.execute(
        "INSERT INTO decisions (account_id, authorization_id, request_event_id, card_id, approved, reason, amount,"
        " currency, requested, took_us, stripe_approved, stripe_reason, inputs) VALUES ('acct_1', 'iauth_1', 'evt_1',"
        " 'ic_1', true, 'approved', 500, 'usd', 500, 900, false, 'webhook_timeout', $1)",
        {"available": 10_000, "rules": HOSTILE},
    )
    await services.pool.execute(
        "INSERT INTO replays (id, state, mode, filter, rate, reason, by, by_key, total, dry_run)"
        " VALUES ('rpl_1', 'running', 'state', $1, 100, $2, 'x', 'x', 4, false)",
        {"status": HOSTILE},
        HOSTILE,
    )
    await services.pool.execute("INSERT INTO brakes (step, reason, by) VALUES ('create_card', $1, $1)", HOSTILE)
    await services.pool.execute("INSERT INTO heartbeats (worker) VALUES ($1)", HOSTILE)
