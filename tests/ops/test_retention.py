"""Retention: old bodies and rows go in small chunks, and every rebuild after it says what it said before."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from app.cli import build
from app.errors import Conflict
from app.machines import lifecycle
from app.machines import programme as policy
from app.machines.events import AccountEnrolled, EnrollmentRequested, Happening
from app.machines.programme import Programme
from app.ops import checkpoint, jobs, rebuild, replay, retention
from app.ops.parts import Actor
from app.store import keys, log
from app.web.main import create_app
from app.wiring import Services
from tests.flow.test_apply import card, deliver
from tests.machines import lives
from tests.ops.conftest import PLATFORM
from tests.ops.test_replay import Drain

ME = Actor(who="test", reason="because")
ACCOUNT = lives.ACCOUNT


async def tell(services: Services, event_id: str, *happenings: Happening, account: str = ACCOUNT) -> None:
    async with services.pool.acquire() as conn:
        await log.append(
            conn,
            account_id=account,
            event_id=event_id,
            source="request",
            type="enrollment.requested" if account == PLATFORM else "account.read",
            happenings=happenings,
            at_ms=1,
        )


async def life(services: Services, drain: Drain) -> None:
    """A whole life, one event for each thing that happened, and a card told by a webhook."""
    for n, happening in enumerate(lives.whole_life()):
        await tell(services, f"evt_{n:02}", happening)
        await drain()
    await deliver(services.pool, "issuing_card.updated", card(), account=ACCOUNT)
    await drain()


async def age(services: Services, days: int, where: str = "true") -> None:
    """Let all events be older, each arrived at a moment of its own."""
    await services.pool.execute(
        "UPDATE events SET received_at = now() - make_interval(days => $1)"
        " + make_interval(secs => (SELECT count(*) FROM events b WHERE b.event_id < events.event_id))"
        f" WHERE {where}",
        days,
    )


async def bodies(services: Services) -> int:
    return int(await services.pool.fetchval("SELECT count(*) FROM events WHERE payload IS NOT NULL"))


async def test_a_rebuild_says_the_same_before_and_after_bodies_are_gone(services: Services, drain: Drain) -> None:
    await life(services, drain)
    before = await rebuild.check(services, ACCOUNT)
    assert (before.equal, before.facts.state, before.checkpoint) == (True, "live", 0)
    await age(services, 100)
    assert (await retention.drop(services, ME, yes=False))["found"] == {"bodies": before.events, "rows": 0}
    assert await bodies(services) == before.events
    assert (await retention.drop(services, ME, yes=True))["bodies_dropped"] == before.events
    assert await bodies(services) == 0
    after = await rebuild.check(services, ACCOUNT)
    assert (after.equal, after.events, after.checkpoint) == (True, 0, before.events)
    assert (after.facts, {k: (o.state, o.data) for k, o in after.objects.items()}) == (
        before.facts,
        {k: (o.state, o.data) for k, o in before.objects.items()},
    )
    await deliver(services.pool, "issuing_card.updated", card("inactive"), account=ACCOUNT, created=60)
    await drain()
    later = await rebuild.check(services, ACCOUNT)
    assert (later.equal, later.events, later.facts.state) == (True, 1, "cardholder_ready")
    await services.pool.execute("UPDATE objects SET state = 'canceled' WHERE object_id = 'ic_1'")
    assert [d.what for d in (await rebuild.check(services, ACCOUNT)).differences] == ["objects.ic_1"]
    await rebuild.repair(services, ACCOUNT, ME)
    assert (await rebuild.check(services, ACCOUNT)).equal is True


async def test_what_is_due_is_shown_and_can_go_now_in_parts(
    services: Services, drain: Drain, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life(services, drain)
    await age(services, 100)
    due = await bodies(services)
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("PLATFORM_ACCOUNT_ID", PLATFORM)
    before = await typed("status")
    assert (before["found"], before["through"]["bodies"]) == ({"bodies": due, "rows": 0}, None)
    assert str(due) in (await typed("run"))["would"]
    assert (await retention.drop(services, ME, yes=True, chunks_max=0))["left"] == {"bodies": due, "rows": 0}
    assert await bodies(services) == due
    done = await typed("run", "--reason", "space", "--yes")
    assert (done["bodies_dropped"], done["left"]) == (due, {"bodies": 0, "rows": 0})
    after = await typed("status")
    assert (after["found"]["bodies"], after["checkpoints"]) == (0, 1)
    assert after["through"]["bodies"] is not None
    rows = await services.pool.fetch("SELECT action, reason FROM operator_actions ORDER BY id")
    assert [tuple(row) for row in rows][-1] == ("retention.run", "space")
    told = len(rows)
    await retention.Keeper(services).poll()
    assert await services.pool.fetchval("SELECT count(*) FROM operator_actions") == told


async def typed(*arguments: str) -> dict[str, Any]:
    done = await asyncio.to_thread(CliRunner().invoke, build(), ["retention", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


async def test_checkpoints_move_on_and_know_their_place_in_the_journal(services: Services, drain: Drain) -> None:
    await life(services, drain)
    for through in (3, 3, 7):
        assert await checkpoint.advance(services, ACCOUNT, through) is True
    row = await services.pool.fetchrow("SELECT applied_seq, seq FROM checkpoints")
    assert row is not None
    last = await services.pool.fetchval(
        "SELECT max(j.seq) FROM journal j JOIN events e USING (account_id, event_id) WHERE e.applied_seq <= 7"
    )
    assert tuple(row) == (7, last)
    assert (await rebuild.check(services, ACCOUNT)).equal is True


async def test_many_small_chunks_beside_a_busy_worker(services: Services, drain: Drain) -> None:
    count = retention.CHUNK_MAX * 2 + 50
    await deliver(services.pool, "issuing_card.created", card(card_id="ic_0"))
    await services.pool.execute(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status)"
        " SELECT 'acct_' || n % 3, 'evt_' || n, source, type, kind, created,"
        "        convert_to(replace(convert_from(payload, 'UTF8'), 'ic_0', 'ic_' || n), 'UTF8'), 'pending'"
        "   FROM events, generate_series(1, $1) AS n",
        count - 1,
    )
    await drain()
    await age(services, 100)

    async def busy() -> None:
        for n in range(30):
            await deliver(services.pool, "issuing_card.updated", card("inactive", f"ic_{n}"), created=90)
            await drain()

    dropped, _ = await asyncio.gather(retention.drop(services, ME, yes=True, pause_s=0.01), busy())
    assert (dropped["bodies_dropped"], dropped["kept"]) == (count, 0)
    assert await bodies(services) == 30
    everyone = await rebuild.check_all(services)
    assert (everyone["equal"], everyone["events"]) == (3, 30)
    assert (await retention.drop(services, ME, yes=True))["bodies_dropped"] == 0


async def test_what_is_parked_waiting_or_young_keeps_its_body(services: Services, drain: Drain) -> None:
    await life(services, drain)
    parked = await deliver(services.pool, "issuing_card.created", None, account=ACCOUNT)
    await drain()
    young = await deliver(services.pool, "issuing_card.updated", card(), account=ACCOUNT)
    await drain()
    await age(services, 100, f"event_id <> '{young}'")
    await retention.drop(services, ME, yes=True)
    left = await services.pool.fetch("SELECT event_id FROM events WHERE payload IS NOT NULL")
    assert {row["event_id"] for row in left} == {parked, young}


async def test_what_was_answered_at_the_door_goes_though_no_fold_ever_reads_it(
    services: Services, drain: Drain
) -> None:
    """A real-time request is closed by its decision: no checkpoint will ever stand behind it."""
    await life(services, drain)
    await services.pool.execute(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status, applied_at)"
        " VALUES ($1, 'evt_asked', 'webhook', 'issuing_authorization.request', 'snapshot', now(), 'x', 'applied', now())",
        ACCOUNT,
    )
    await age(services, 100)
    await retention.drop(services, ME, yes=True)
    assert await bodies(services) == 0
    assert (await rebuild.check(services, ACCOUNT)).equal is True
    await services.pool.execute(
        "UPDATE events SET received_at = now() - interval '500 days' WHERE event_id = 'evt_asked'"
    )
    await retention.drop(services, ME, yes=True)
    kept = "SELECT count(*) FROM events WHERE event_id = 'evt_asked'"
    assert await services.pool.fetchval(kept) == 1, "the decision names it"


async def test_an_enrollment_keeps_its_body_until_the_cardholder_was_made(services: Services, drain: Drain) -> None:
    asked = EnrollmentRequested(enrollment_id="enr_1", request={"reference": "r", "country": "MX"}, at=1)
    await tell(services, "enr_1", asked, account=PLATFORM)
    await drain()
    await tell(services, "evt_open", AccountEnrolled(enrollment_id="enr_1", request={}, at=2), lives.account(3))
    await drain()
    await services.pool.execute(
        "UPDATE objects SET data = data || jsonb_build_object('account', $1::text) WHERE object_id = 'enr_1'", ACCOUNT
    )
    await age(services, 100)
    await retention.drop(services, ME, yes=True)
    kept = "SELECT payload IS NOT NULL FROM events WHERE event_id = 'enr_1'"
    assert await services.pool.fetchval(kept) is True
    await tell(services, "evt_holder", lives.cardholder(9))
    await drain()
    await age(services, 90, "event_id = 'enr_1'")
    await services.pool.execute("DELETE FROM watermarks")
    await retention.drop(services, ME, yes=True)
    assert await services.pool.fetchval(kept) is False


async def test_rows_that_moved_no_money_go_after_400_days_and_all_others_stay(services: Services, drain: Drain) -> None:
    await life(services, drain)
    authorization = {"id": "iauth_1", "object": "issuing.authorization", "status": "pending", "amount": 5}
    money = await deliver(services.pool, "issuing_authorization.created", authorization, account=ACCOUNT)
    await drain()
    webhooks = "SELECT array_agg(event_id) FROM events WHERE source = 'webhook'"
    assert len(await services.pool.fetchval(webhooks)) == 2
    total = await services.pool.fetchval("SELECT count(*) FROM events")
    await age(services, 399)
    assert (await retention.drop(services, ME, yes=True))["rows_deleted"] == 0
    await age(services, 401)
    assert (await retention.drop(services, ME, yes=True))["rows_deleted"] == 1
    assert await services.pool.fetchval(webhooks) == [money]
    assert await services.pool.fetchval("SELECT count(*) FROM events") == total - 1
    assert (await rebuild.check(services, ACCOUNT)).equal is True


async def test_a_log_that_cannot_be_folded_keeps_its_bodies(services: Services, drain: Drain) -> None:
    await life(services, drain)
    await services.pool.execute("UPDATE events SET payload = '['::bytea WHERE event_id = 'evt_03'")
    await age(services, 100)
    done = await retention.drop(services, ME, yes=True)
    assert (done["bodies_dropped"], await checkpoint.advance(services, ACCOUNT, 4)) == (0, False)


async def test_a_change_of_programme_is_no_difference(services: Services, drain: Drain) -> None:
    """Each event is folded again under the programme of its day, whatever runs today."""
    await tell(services, "evt_1", lives.enrolled(1), lives.account(2))
    await drain()
    assert await services.pool.fetchval("SELECT count(*) FROM outbox") == 1
    services.programme = Programme(steps=(), required_capabilities=("something.else",))
    found = await rebuild.check(services, ACCOUNT)
    assert (found.equal, found.facts.state) == (True, "activated")
    await services.pool.execute("UPDATE events SET programme = NULL")
    assert (await rebuild.check(services, ACCOUNT)).equal is False, "an event without one is folded under today's"


@pytest_asyncio.fixture
async def api(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with services.pool.acquire() as conn:
        _, key = await keys.create(conn, name="ops", scope="operate")
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail", headers=headers) as client:
        yield client


async def test_an_event_whose_body_is_gone_says_so_and_is_not_replayed(
    services: Services, drain: Drain, api: httpx.AsyncClient
) -> None:
    await life(services, drain)
    await age(services, 100)
    await retention.drop(services, ME, yes=True)
    shown = (await api.get("/v1/events/evt_03")).json()
    assert (shown["payload"], shown["payload_dropped"], shown["status"]) == (None, True, "applied")
    assert shown["journal"] != []
    body = {"mode": "force", "dry_run": False, "reason": "r"}
    answer = await api.post("/v1/events/evt_03/replays", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "payload_dropped")
    compared = await api.post("/v1/events/evt_03/replays", json={**body, "mode": "state"})
    assert (compared.json()["state"], compared.json()["plan"]["equal"]) == ("compared", True)
    async with services.pool.acquire() as conn, conn.transaction():
        with pytest.raises(Conflict):
            await jobs.replay_event(conn, services, await replay.found_event(conn, "evt_03"), "force", ME)
        made = await jobs.start(conn, services, {"account": ACCOUNT}, mode="force", rate=10, dry_run=True, actor=ME)
    assert made["forecast"]["passed_over"] == {"payload_dropped": made["total"]}


def test_what_the_fold_asks_of_a_programme_is_kept_beside_the_log() -> None:
    """A part that only the fold knows of would make yesterday's events fold under today's policy."""
    folder = Path(lifecycle.__file__).parent
    source = "".join((folder / name).read_text(encoding="utf-8") for name in ("lifecycle.py", "story.py"))
    assert set(re.findall(r"programme\.(\w+)", source)) == set(policy.FOLDED)


async def test_old_idempotency_keys_go_and_those_under_way_stay(services: Services) -> None:
    async with services.pool.acquire() as conn:
        for name, days, leased_s in (("old", 31, None), ("ended", 31, -1), ("under way", 31, 60), ("young", 29, None)):
            await conn.execute(
                "INSERT INTO idempotency (key_id, key, fingerprint, created_at, lease_until)"
                " VALUES ('key_1', $1, '', now() - make_interval(days => $2), now() + make_interval(secs => $3))",
                name,
                days,
                leased_s,
            )
        await conn.execute(
            "INSERT INTO idempotency (key_id, key, fingerprint, created_at)"
            " SELECT 'key_2', n, '', now() - interval '40 days' FROM generate_series(1, $1) n",
            retention.CHUNK_MAX,
        )
    assert await retention.drop_keys(services) == retention.CHUNK_MAX + 2
    await services.pool.execute("UPDATE idempotency SET created_at = now() - interval '31 days' WHERE key = 'young'")
    await retention.Keeper(services).poll()
    assert [row["key"] for row in await services.pool.fetch("SELECT key FROM idempotency")] == ["under way"]
