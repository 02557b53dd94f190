"""Destinations at Stripe: what is missing is created once, everything we follow then arrives signed, and the doctor sees
what is wrong.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
import stripe as sdk

from app.config import Settings
from app.errors import BadInput
from app.ops import destinations, doctor
from app.ops.parts import Actor
from app.store import keys
from app.stripe import destinations as rules
from app.web.main import create_app
from app.wiring import Services, open_services
from tests.sandbox.conftest import Box, Receiver, box, receiver, started

__all__ = ["box", "receiver", "started"]

Start = Callable[..., Box]

ME = Actor(who="test", reason="because")
PLATFORM = "acct_platform_sandbox"
NEW, OLD = "2026-10-14.preview", "2026-06-10.preview"
GENERAL = "2026-06-24.dahlia"


@contextlib.asynccontextmanager
async def opened(dsn: str, box: Box, url: str, version: str = NEW) -> AsyncIterator[Services]:
    settings = Settings.model_validate(
        {
            "DATABASE_URL": dsn,
            "STRIPE_API_KEY": "sk_test_sandbox",
            "STRIPE_API_BASE": box.url,
            "STRIPE_API_VERSION": version,
            "PLATFORM_ACCOUNT_ID": PLATFORM,
            "CARDRAIL_PUBLIC_URL": url,
            "CARDRAIL_POOL_SIZE": "2",
        }
    )
    async with open_services(settings) as services:
        yield services


@pytest_asyncio.fixture
async def services(dsn: str, box: Box) -> AsyncIterator[Services]:
    async with opened(dsn, box, "https://cards.example.com") as one:
        yield one


async def about(services: Services, prefix: str) -> list[tuple[str, str]]:
    return [(c.state, c.says) for c in await doctor.examine(services) if c.check.startswith(prefix)]


async def test_without_an_address_of_ours_stripe_goes_on_posting_to_where_it_posts(services: Services) -> None:
    """An operator's machine knows neither the public address nor the port: its advice must not lead Stripe astray."""
    await destinations.ensure(services, ME, url="https://cards.example.com", yes=True)
    services.settings = services.settings.but(public_url=None)
    again = await destinations.ensure(services, ME, url=None, yes=False)
    assert (again["url"], again["steps"]) == ("https://cards.example.com/webhooks/stripe", [])
    assert [state for state, _ in await about(services, "destinations")] == ["ok"]


async def test_where_nobody_can_know_the_address_the_operator_is_asked_for_it(services: Services) -> None:
    services.settings = services.settings.but(public_url=None, stripe_api_base="https://api.stripe.com")
    assert destinations.known_door(services, []) is None
    with pytest.raises(BadInput, match="--url"):
        destinations.door(services, None)
    two = [
        {"type": "webhook_endpoint", "webhook_endpoint": {"url": f"https://{host}/webhooks/stripe"}} for host in "ab"
    ]
    assert destinations.known_door(services, two[:1]) == "https://a/webhooks/stripe"
    assert destinations.known_door(services, two) is None


async def test_what_is_missing_is_created_once(services: Services) -> None:
    dry = await destinations.ensure(services, ME, url=None, yes=False)
    assert [(s["action"], s["style"], s["scope"]) for s in dry["steps"]] == [
        ("create", "thin", "@self"),
        ("create", "thin", "@accounts"),
        ("create", "snapshot", "@self"),
        ("create", "snapshot", "@accounts"),
    ]
    assert (dry["secrets"], await destinations.listed(services)) == ([], [])
    assert [state for state, _ in await about(services, "destinations")] == ["wrong"]
    made = await destinations.ensure(services, ME, url=None, yes=True)
    assert (made["failed"], len(set(made["secrets"]))) == ([], 4)
    assert {row["url"] for row in await destinations.listed(services)} == {"https://cards.example.com/webhooks/stripe"}
    again = await destinations.ensure(services, ME, url=None, yes=True)
    assert (again["steps"], again["secrets"]) == ([], [])
    assert [state for state, _ in await about(services, "destinations")] == ["ok"]
    noted = await services.pool.fetch("SELECT action, reason, result FROM operator_actions ORDER BY id")
    assert [(row["action"], row["reason"]) for row in noted] == [("destinations.ensure", "because")] * 2
    assert not any(secret in json.dumps([dict(row) for row in noted]) for secret in made["secrets"])


async def test_a_type_that_stripe_refuses_does_not_cost_the_others(dsn: str, box: Box) -> None:
    """This Stripe knows the new words only, and names one unknown type at a time."""
    async with opened(dsn, box, "https://cards.example.com", OLD) as services:
        made = await destinations.ensure(services, ME, url=None, yes=True)
        assert [(s["style"], s["scope"]) for s in made["steps"]] == [(a, b) for a in rules.STYLES for b in rules.SCOPES]
        assert len(made["secrets"]) == 4
        storer = [f"v2.core.account[configuration.storer].{s}" for s in ("capability_status_updated", "updated")]
        assert made["failed"] == [f"create thin {s}: Stripe refuses {', '.join(storer)}" for s in rules.SCOPES]
        again = await destinations.ensure(services, ME, url=None, yes=True)
        assert (again["steps"], again["secrets"]) == ([], [])
        assert again["failed"] == [f"update thin {s}: Stripe refuses {', '.join(storer)}" for s in rules.SCOPES]


async def test_a_disabled_one_is_enabled_and_a_narrow_one_is_widened(services: Services, box: Box) -> None:
    await destinations.ensure(services, ME, url=None, yes=True)
    rows = await destinations.listed(services)
    asleep = next(str(row["id"]) for row in rows if row["style"] == "thin")
    narrow = next(str(row["id"]) for row in rows if row["style"] == "snapshot")
    box.stripe.v2.core.event_destinations.disable(asleep)
    box.stripe.v2.core.event_destinations.update(narrow, {"enabled_events": ["issuing_card.created"]})
    assert "wrong" in {state for state, _ in await about(services, "destination")}
    made = await destinations.ensure(services, ME, url=None, yes=True)
    assert {(s["action"], s["id"]) for s in made["steps"]} == {("enable", asleep), ("update", narrow)}
    assert made["secrets"] == []
    assert [state for state, _ in await about(services, "destination")] == ["ok"]


async def test_destinations_of_others_are_left_alone(services: Services, box: Box) -> None:
    body = {"url": "https://other.example.com/hooks", "secret": "whsec_other", "event_payload": "thin"}
    box.control("POST", "destinations", body)
    before = await destinations.listed(services)
    assert len((await destinations.ensure(services, ME, url=None, yes=True))["steps"]) == 4
    assert before[0] in await destinations.listed(services)


async def test_a_classic_endpoint_is_listed_counts_and_is_told_when_it_doubles_or_is_off(
    services: Services, box: Box
) -> None:
    url = "https://cards.example.com/webhooks/stripe"
    every = sorted(rules.needed("snapshot", NEW))
    body: Any = {"url": url, "enabled_events": every, "connect": True, "api_version": GENERAL}
    made = box.stripe.v1.webhook_endpoints.create(body)
    box.stripe.v1.webhook_endpoints.create({"url": "https://other.example.com/", "enabled_events": ["*"]})
    listed = {row["id"]: row for row in await destinations.listed(services)}
    assert (listed[made.id]["api"], listed[made.id]["scopes"], listed[made.id]["url"]) == ("v1", ["@accounts"], url)
    plan = (await destinations.ensure(services, ME, url=None, yes=True))["steps"]
    assert ("snapshot", "@accounts") not in {(step["style"], step["scope"]) for step in plan}
    assert [state for state, _ in await about(services, "destinations")] == []
    assert [says for _, says in await about(services, f"destination {made.id}")] == [
        f"its snapshots are rendered in {GENERAL}, we speak {NEW}"
    ]
    box.control("POST", "destinations", {"url": url, "secret": "whsec_x", "event_payload": "snapshot"})
    ((state, says),) = await about(services, "webhook endpoint")
    assert (state, says.startswith(f"{len(every)} types come twice")) == ("warning", True)
    box.stripe.v1.webhook_endpoints.update(made.id, {"disabled": True})
    assert await about(services, "webhook endpoint") == [
        ("warning", "a webhook endpoint of v1 that is disabled at Stripe")
    ]


@pytest.mark.parametrize("version", [NEW, OLD])
async def test_every_event_of_a_life_arrives_and_is_signed(
    dsn: str, started: Start, receiver: Receiver, version: str
) -> None:
    box = started(api_version=version)
    async with opened(dsn, box, "http://127.0.0.1:1", version) as services:
        made = await destinations.ensure(services, ME, url=receiver.url, yes=True)
    assert made["failed"] == []
    if version == NEW:
        box.spender()
    else:
        box.account()
    box.settle()
    assert len(receiver.got) > 5
    for _, headers, body in receiver.got:
        assert any(_signed(body.decode(), headers["Stripe-Signature"], secret) for secret in made["secrets"])
    missed = [e["type"] for e in box.control("GET", "events")["data"] if not e["deliveries"] and e["style"] == "thin"]
    assert missed == []


def _signed(body: str, header: str, secret: str) -> bool:
    try:
        return bool(sdk.WebhookSignature.verify_header(body, header, secret, 300))
    except sdk.SignatureVerificationError:
        return False


async def test_only_an_admin_may_look_and_create_over_http(services: Services) -> None:
    async with services.pool.acquire() as conn:
        shown = {scope: (await keys.create(conn, name=scope, scope=scope))[1] for scope in ("operate", "admin")}
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail") as http:
        operate = {"Authorization": f"Bearer {shown['operate']}"}
        admin = {"Authorization": f"Bearer {shown['admin']}"}
        body: dict[str, Any] = {"reason": "first start"}
        assert (await http.post("/v1/destinations", json=body, headers=operate)).status_code == 403
        dry = (await http.post("/v1/destinations", json=body, headers=admin)).json()
        assert (dry["dry_run"], len(dry["steps"]), dry["secrets"]) == (True, 4, [])
        bad = await http.post("/v1/destinations", json={**body, "url": "ftp://x"}, headers=admin)
        assert (bad.status_code, bad.json()["code"]) == (422, "bad_url")
        made = (await http.post("/v1/destinations", json={**body, "dry_run": False}, headers=admin)).json()
        assert len(made["secrets"]) == 4
        assert len((await http.get("/v1/destinations", headers=admin)).json()["data"]) == 4
        examined = (await http.get("/v1/doctor", headers=operate)).json()
        assert {c["check"]: c["state"] for c in examined["checks"]}["destinations"] == "ok"


def test_each_type_is_asked_for_once_and_in_one_vocabulary() -> None:
    for version, foreign in ((NEW, "storer"), (OLD, "money_manager")):
        names = [name for style in rules.STYLES for name in rules.needed(style, version)]
        assert len(names) == len(set(names)) > 100
        assert [name for name in names if f"configuration.{foreign}" in name] == []
        assert "issuing_authorization.request" not in names
        assert rules.PING not in names


def test_a_destination_in_the_other_vocabulary_or_for_all_types_covers_too() -> None:
    old = {"event_payload": "thin", "events_from": ["@self"], "enabled_events": list(rules.needed("thin", OLD))}
    assert rules.missing([old], "thin", "@self", rules.needed("thin", NEW)) == ()
    everything = {"event_payload": "snapshot", "enabled_events": ["*"]}
    assert rules.missing([everything], "snapshot", "@self", rules.needed("snapshot", NEW)) == ()
    assert rules.missing([everything], "snapshot", "@accounts", rules.needed("snapshot", NEW)) != ()
