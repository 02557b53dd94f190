"""Whether those who listen to us hear: Stripe our answers to authorizations, subscribers their notices, readers the stream."""

from app.flow.horizon import COMPLAIN_AFTER_S
from app.ops.doctor.check import Check
from app.ops.subscriptions import BY_HAND
from app.store import decision_views, feed, subscriptions
from app.store.db import Connection

HOURS = 24


async def look(conn: Connection) -> list[Check]:
    """All of it, from one connection."""
    return [await _answers(conn), *await _subscribers(conn), *await _stream(conn)]


async def _answers(conn: Connection) -> Check:
    rows = await decision_views.unfollowed(conn, HOURS)
    if not rows:
        return Check(check="answers", state="ok", says=f"Stripe followed each of our answers in {HOURS} h")
    count = ", ".join(f"{row['stripe_reason']} ({row['count']})" for row in rows)
    says = f"in {HOURS} h Stripe did not follow: {count}; the last at {rows[0]['newest']:%Y-%m-%d %H:%M:%S}Z"
    return Check(check="answers", state="warning", says=says, do="cardrail authorizations list --mismatch")


async def _subscribers(conn: Connection) -> list[Check]:
    rows = await subscriptions.silent(conn, BY_HAND)
    if not rows:
        return [Check(check="subscriptions", state="ok", says="none is without its notices")]
    return [_silent(row) for row in rows]


def _silent(row: subscriptions.Row) -> Check:
    name = row["id"]
    says = (
        f"nothing gets through to {row['url']} since {row['failing_since']:%Y-%m-%d %H:%M:%S}Z"
        if row["enabled"]
        else f"{row['url']} is told nothing any more: {row['disabled_reason']}"
    )
    do = f"cardrail subscriptions deliveries {name} --status failing; once it is well: cardrail subscriptions enable {name}"
    return Check(check=f"subscription {name}", state="warning", says=says, do=do)


async def _stream(conn: Connection) -> list[Check]:
    """Journal lines that wait for somebody's long transaction; nothing to say when none does."""
    waited_s = await feed.held_up_s(conn, await feed.horizon(conn))
    if waited_s is not None and waited_s > COMPLAIN_AFTER_S:
        waited_s = await feed.held_up_s(conn, await feed.far_horizon(conn))
    if waited_s is None or waited_s < COMPLAIN_AFTER_S:
        return []
    by = await feed.blocker(conn)
    who = "nobody that we may see" if by is None else f"{by.application or 'a client'} in {by.database}, PID {by.pid}"
    says = f"journal lines wait since {waited_s:.0f} s for a transaction of {who}"
    do = "" if by is None else f"end it: psql $DATABASE_URL -c 'SELECT pg_terminate_backend({by.pid})'"
    return [Check(check="stream", state="warning", says=says, do=do)]
