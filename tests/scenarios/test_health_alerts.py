"""Stripe's health events over HTTP: open alerts are shown and counted, and missed events are fetched by ourselves, once."""

from typing import Any

import httpx

from app.demo.fleet import Member
from tests.scenarios.asking import Account, until
from tests.scenarios.conftest import World

TIMEOUT = "issuing_authorization_request_timeout"


async def alarm(world: World, name: str, state: str, **more: Any) -> str:
    answer = await world.sandbox.post("/_sandbox/health_alerts", json={"alarm": name, "state": state, **more})
    answer.raise_for_status()
    return str(answer.json()["alert_id"])


async def alerts(world: World, state: str) -> dict[str, dict[str, Any]]:
    page = await world.get(f"/v1/health-alerts?state={state}")
    return {row["id"]: row for row in page["data"]}


async def open_alerts(world: World) -> str:
    async with httpx.AsyncClient() as anyone:
        text = (await anyone.get(f"{world.parts.url}/metrics")).text
    return "\n".join(line for line in text.splitlines() if line.startswith("cardrail_health_alerts_open{"))


HEADERS = {"Authorization": "Bearer sk_test_sandbox", "Stripe-Version": "2026-10-14.preview"}


async def deaf_to_snapshots(world: World) -> None:
    """From now on Stripe sends us no snapshot events, as if it had never made them; thin ones it does."""
    listed = (await world.sandbox.get("/v2/core/event_destinations", headers=HEADERS)).json()["data"]
    for row in listed:
        if row["event_payload"] == "snapshot":
            path = f"/v2/core/event_destinations/{row['id']}/disable"
            (await world.sandbox.post(path, headers=HEADERS)).raise_for_status()


async def test_alerts_fire_and_resolve_and_missed_events_are_brought_in_once(world: World) -> None:
    fired = await alarm(world, TIMEOUT, "firing", summary="Requests timed out.")
    slow = await alarm(world, "webhook_latency", "firing")
    found = await until(lambda: alerts(world, "firing"), lambda a: {fired, slow} <= set(a), "both fire")
    assert (found[fired]["severity"], found[slow]["severity"]) == ("critical", "warning")
    shown = (await world.get("/v1/platform"))["health_alerts"]
    assert {row["id"]: row["summary"] for row in shown}[fired] == "Requests timed out."
    count = f'cardrail_health_alerts_open{{alarm="{TIMEOUT}",severity="critical"}} 1.0'
    await until(lambda: open_alerts(world), lambda text: count in text, "metric")
    await alarm(world, TIMEOUT, "resolved", alert_id=fired)
    await alarm(world, "webhook_latency", "resolved", alert_id=slow)
    await until(lambda: alerts(world, "resolved"), lambda a: {fired, slow} <= set(a), "both resolved")
    assert await alerts(world, "firing") == {}
    await until(lambda: open_alerts(world), lambda text: not text, "metric")

    member = Member("alert-001", "MX", "", "live")
    await world.enroll(member)
    account = Account(world, str(member.account))
    await deaf_to_snapshots(world)
    spent = {"account": account.id, "amount": 700, "currency": "usd"}
    authorization = (await world.sandbox.post("/_sandbox/purchases", json=spent)).json()["authorization"]["id"]
    assert await account.look(authorization) == {}
    impact = {"context": account.id, "event_type": "issuing_authorization.created", "related_object": {"id": "x"}}
    missed = await alarm(world, "event_generation_failure", "resolved", impact=impact)
    await account.shows(authorization, lambda seen: seen["state"])
    answered = await until(lambda: alerts(world, "resolved"), lambda a: a.get(missed, {}).get("backfilled_at"), "done")
    assert answered
    polled = await world.get(f"/v1/events?account={account.id}&source=poll&type=issuing_authorization.created")
    assert len(polled["data"]) == 1
    done = [row for row in (await world.get("/v1/audit?limit=200"))["data"] if row["action"] == "backfill"]
    assert len([row for row in done if missed in (row["reason"] or "")]) == 1


async def test_a_ping_is_kept_and_changes_nothing(world: World) -> None:
    body = {"url": f"{world.parts.url}/webhooks/stripe", "secret": world.parts.secret, "event_payload": "thin"}
    made = (await world.sandbox.post("/_sandbox/destinations", json=body)).json()
    (await world.sandbox.post(f"/v2/core/event_destinations/{made['id']}/ping", headers=HEADERS)).raise_for_status()
    kind = "v2.core.event_destination.ping"
    page = await until(lambda: world.get(f"/v1/events?type={kind}&status=applied"), lambda p: p["data"], "ping")
    assert page["data"][0]["account"] == "acct_platform_sandbox"
