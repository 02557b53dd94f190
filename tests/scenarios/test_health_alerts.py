"""Stripe's health events over HTTP: open alerts are shown and counted, and missed events are fetched by ourselves, once.
Beside them events that are of no object, of no known type, or tell one fact twice.
"""

import json
import time
from typing import Any

import httpx

from app.demo.fleet import PURCHASES, Member
from app.stripe import signature
from tests.scenarios.asking import Account, until
from tests.scenarios.conftest import World

TIMEOUT = "issuing_authorization_request_timeout"
ERRORS = "issuing_authorization_request_errors"


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


async def snapshots(world: World, verb: str) -> None:
    """``disable``: Stripe sends us no snapshot events, as if it had never made them; thin ones it does. Or ``enable``."""
    listed = (await world.sandbox.get("/v2/core/event_destinations", headers=HEADERS)).json()["data"]
    for row in listed:
        if row["event_payload"] == "snapshot":
            path = f"/v2/core/event_destinations/{row['id']}/{verb}"
            (await world.sandbox.post(path, headers=HEADERS)).raise_for_status()


async def test_alerts_fire_and_resolve_and_missed_events_are_brought_in_once(fleet_world: World) -> None:
    world = fleet_world
    fired = await alarm(world, TIMEOUT, "firing", summary="Requests timed out.")
    slow = await alarm(world, "webhook_latency", "firing")
    bad = await alarm(world, ERRORS, "firing")
    found = await until(lambda: alerts(world, "firing"), lambda a: {fired, slow, bad} <= set(a), "all fire")
    assert [found[one]["severity"] for one in (fired, bad, slow)] == ["critical", "critical", "warning"]
    shown = (await world.get("/v1/platform"))["health_alerts"]
    assert {row["id"]: row["summary"] for row in shown}[fired] == "Requests timed out."
    count = f'cardrail_health_alerts_open{{alarm="{TIMEOUT}",severity="critical"}} 1.0'
    await until(lambda: open_alerts(world), lambda text: count in text, "metric")
    await alarm(world, TIMEOUT, "resolved", alert_id=fired)
    await alarm(world, "webhook_latency", "resolved", alert_id=slow)
    await alarm(world, ERRORS, "resolved", alert_id=bad)
    await until(lambda: alerts(world, "resolved"), lambda a: {fired, slow, bad} <= set(a), "all resolved")
    assert await alerts(world, "firing") == {}
    await until(lambda: open_alerts(world), lambda text: not text, "metric")

    member = Member("alert-001", "MX", "", "live")
    await world.enroll(member)
    account = Account(world, str(member.account))
    await snapshots(world, "disable")
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
    await snapshots(world, "enable")


async def test_a_ping_is_kept_and_changes_nothing(fleet_world: World) -> None:
    world = fleet_world
    body = {"url": f"{world.parts.url}/webhooks/stripe", "secret": world.parts.secret, "event_payload": "thin"}
    made = (await world.sandbox.post("/_sandbox/destinations", json=body)).json()
    (await world.sandbox.post(f"/v2/core/event_destinations/{made['id']}/ping", headers=HEADERS)).raise_for_status()
    kind = "v2.core.event_destination.ping"
    page = await until(lambda: world.get(f"/v1/events?type={kind}&status=applied"), lambda p: p["data"], "ping")
    assert page["data"][0]["account"] == "acct_platform_sandbox"


async def test_a_type_that_nobody_knows_is_kept_counted_and_named_by_the_doctor(fleet_world: World) -> None:
    world, kind = fleet_world, "v2.money_management.treasure_chest.opened"
    body = {"id": "evt_test_odd", "object": "v2.core.event", "type": kind, "created": "2026-11-24T10:00:00.000Z"}
    content = json.dumps({**body, "livemode": False, "context": None, "related_object": None}).encode()
    signed = signature.sign(content, world.parts.secret.encode(), int(time.time())).decode()
    answer = await world.api.post("/webhooks/stripe", content=content, headers={"Stripe-Signature": signed})
    assert answer.status_code == 200
    page = await until(lambda: world.get(f"/v1/events?type={kind}&status=ignored"), lambda p: p["data"], "kept")
    assert [row["id"] for row in page["data"]] == ["evt_test_odd"]
    async with httpx.AsyncClient() as anyone:
        text = (await anyone.get(f"{world.parts.url}/metrics")).text
    assert f'cardrail_unknown_events_total{{type="{kind}"}} 1.0' in text
    checks = {check["check"]: check for check in (await world.get("/v1/doctor"))["checks"]}
    assert (checks["event types"]["state"], f"{kind} (1)" in checks["event types"]["says"]) == ("warning", True)


async def all_applied(world: World, account: str, kind: str) -> None:
    path = f"/v1/events?account={account}&type={kind}"
    await until(lambda: world.get(path), lambda page: {e["status"] for e in page["data"]} == {"applied"}, kind)


async def test_a_thin_twin_of_a_snapshot_has_no_effect_of_its_own(fleet_world: World) -> None:
    world, member = fleet_world, Member("twins-001", "MX", "", "live")
    (await world.sandbox.put("/_sandbox/thin_twins", json={"on": True})).raise_for_status()
    await world.enroll(member)
    account = Account(world, str(member.account))
    (card,) = await account.objects("card")
    await account.ask(f"cards/{card['id']}/freezes", {"reason": "seen abroad"})
    await account.shows(card["id"], "inactive")
    await account.ask(f"cards/{card['id']}/freezes", None, "DELETE")
    await account.shows(card["id"], "active")
    (await world.sandbox.put("/_sandbox/thin_twins", json={"on": False})).raise_for_status()
    for kind in ("issuing_card.updated", "v1.issuing_card.updated", "v1.issuing_transaction.created"):
        await all_applied(world, account.id, kind)
    lines = await account.journal()
    moves = [(line["from"], line["to"]) for line in lines if line["object_id"] == card["id"]]
    assert moves == [(None, "active"), ("active", "inactive"), ("inactive", "active")]
    spent = [line["object_id"] for line in lines if line["machine"] == "issuing_transaction"]
    assert len(spent) == len(set(spent)) == len(PURCHASES)
    rebuilt = await world.api.post(f"{account.path}/rebuilds", json={"reason": "test", "dry_run": True})
    assert rebuilt.json()["equal"] is True, rebuilt.text
