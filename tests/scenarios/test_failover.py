"""The database's primary is lost and its standby promoted while server and worker run: they go on by themselves."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from app.demo.fleet import Member
from app.store import db, embedded, schema
from app.stripe import signature
from tests.patience import PATIENCE_S, until_true
from tests.scenarios.asking import until
from tests.scenarios.conftest import World, opened

ACCOUNT = "acct_failover"


def standby_of(primary: embedded.Embedded, folder: Path) -> embedded.Embedded:
    """A copy of the primary that follows it."""
    data = folder / "pg"
    data.mkdir(parents=True, mode=0o700)
    embedded._let_through(folder)
    if (user := embedded._user()) is not None:
        shutil.chown(data, user=user)
    where = ("-D", str(data), "-h", str(primary.sockets), "-U", "postgres")
    embedded._pg("pg_basebackup", *where, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
    (data / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
    server = embedded.Embedded(data, embedded._socket_dir(data), started=True)
    embedded._run_server(server, durable=False)
    return server


@pytest.fixture
def two() -> Iterator[tuple[embedded.Embedded, embedded.Embedded]]:
    """A primary and its standby."""
    root = Path(tempfile.mkdtemp(prefix="cardrail-test-failover-"))
    first = embedded.start(root / "a", durable=False)
    second = standby_of(first, root / "b")
    yield first, second
    for server in (second, first):
        embedded.stop(server, mode="immediate")
    shutil.rmtree(root, ignore_errors=True)


async def synchronous(dsn: str) -> None:
    """Nothing is committed any more that the standby does not have."""
    conn = await db.connect(dsn)
    await conn.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await conn.execute("SELECT pg_reload_conf()")
    query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
    await until(lambda: conn.fetchval(query), lambda count: count == 1, "a synchronous standby")
    await conn.close()


class Stripe:
    """Delivers one event after the other, each once, and keeps what it was answered and when it had asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers: list[tuple[float, int, str]] = []

    def accepted(self) -> set[str]:
        return {event for _, status, event in self.answers if status == 200}

    def told_since(self, when: float, status: int) -> bool:
        return any(at >= when and code == status for at, code, _ in self.answers)

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self.world.parts.url, timeout=PATIENCE_S) as http:
            while True:
                event, at = f"evt_failover_{len(self.answers)}", time.monotonic()
                thing = {"id": "ic_1", "object": "issuing.card", "status": "active"}
                body = orjson.dumps(
                    {
                        "id": event,
                        "object": "event",
                        "type": "issuing_card.updated",
                        "created": int(time.time()),
                        "livemode": False,
                        "account": ACCOUNT,
                        "data": {"object": thing},
                    }
                )
                signed = signature.sign(body, self.world.parts.secret.encode(), int(time.time()))
                answer = await http.post(
                    "/webhooks/stripe", content=body, headers={"Stripe-Signature": signed.decode()}
                )
                self.answers.append((at, answer.status_code, event))
                await asyncio.sleep(0.02)


async def test_a_promoted_standby_is_followed_and_nothing_accepted_is_lost(
    two: tuple[embedded.Embedded, embedded.Embedded], tmp_path: Path
) -> None:
    first, second = two
    await schema.ensure(first.dsn())
    await synchronous(first.dsn())
    both = first.dsn().replace(str(first.sockets), f"{first.sockets},{second.sockets}")
    async with opened(both, tmp_path) as world:
        stripe = Stripe(world)
        delivering = asyncio.create_task(stripe.run())
        await until_true(lambda: stripe.told_since(0, 200))
        embedded.stop(first, mode="immediate")
        lost = time.monotonic()
        await until_true(lambda: stripe.told_since(lost, 503))
        embedded._pg("pg_ctl", "promote", "-D", str(second.data), "-w", "-s")
        promoted = time.monotonic()
        await until_true(lambda: stripe.told_since(promoted, 200))
        await world.enroll(Member("failover-001", "MX", "", "live"))
        delivering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await delivering
        assert {status for _, status, _ in stripe.answers} == {200, 503}
        await heard_and_kept(second.dsn(), stripe.accepted())


async def heard_and_kept(dsn: str, accepted: set[str]) -> None:
    """Every accepted event is there and folded, and both processes listen again."""
    conn = await db.connect(dsn, name="test")
    kept = await conn.fetch("SELECT event_id FROM events WHERE account_id = $1", ACCOUNT)
    assert accepted <= {row["event_id"] for row in kept}
    pending = "SELECT count(*) FROM events WHERE status = 'pending'"
    await until(lambda: conn.fetchval(pending), lambda count: count == 0, "everything is folded")
    listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cardrail'"
    await until(lambda: conn.fetchval(listening), lambda count: count == 2, "server and worker listen")
    await conn.close()
