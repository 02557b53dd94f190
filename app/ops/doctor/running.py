"""Whether the service runs: clock, workers, backlog, the log's completeness, what is parked or stopped."""

import time
from datetime import UTC, datetime, timedelta

from app.machines.lifecycle import STEPS
from app.ops import parked
from app.ops.doctor.check import Check, worse_than
from app.ops.plain import error as in_words
from app.store import controls, gauges, health, heartbeats
from app.store.db import Connection

SKEW_MAX_S = 5.0
BACKLOG_WARN_S, BACKLOG_MAX_S = 60.0, 300.0
HEARTBEAT_MAX_S = 30.0
HUNT_MAX_S = 3_600.0
BY_ITSELF = "cardrail"


async def look(conn: Connection) -> list[Check]:
    """All of it, from one connection."""
    found = [await _clock(conn), await _collation(conn), *await _workers(conn)]
    found += [await _backlog(conn), await _complete(conn)]
    return [*found, *await _brakes(conn), *await _parked(conn), *await _refused(conn)]


async def _clock(conn: Connection) -> Check:
    skew = abs(time.time() - await health.clock_s(conn))
    says, do = f"{skew:.1f} s from the database's clock", "set the clocks of both machines by NTP"
    return Check(
        check="clock", state="ok" if skew <= SKEW_MAX_S else "wrong", says=says, do="" if skew <= SKEW_MAX_S else do
    )


async def _collation(conn: Connection) -> Check:
    """An index built under another order of text (an upgrade, or a standby on another system) does not find every row."""
    differs = await health.collation(conn)
    if differs is None:
        return Check(check="collation", state="ok", says="text is sorted as when the indexes were built")
    database, built, actual = differs
    says = f"the indexes were built under version {built} of the collation, the server sorts by {actual}: rows may not be found"
    do = f'in psql: REINDEX DATABASE "{database}"; ALTER DATABASE "{database}" REFRESH COLLATION VERSION'
    return Check(check="collation", state="wrong", says=says, do=do)


async def _workers(conn: Connection) -> list[Check]:
    rows = await heartbeats.every(conn)
    if not rows:
        return [Check(check="workers", state="warning", says="no worker was ever heard of", do="cardrail worker")]
    alive = [row for row in rows if row["age_s"] <= HEARTBEAT_MAX_S]
    if not alive:
        newest = rows[0]
        says = f"none lives: {newest['worker']} was heard of {newest['age_s']:.0f} s ago"
        return [Check(check="workers", state="wrong", says=says, do="cardrail worker")]
    names = ", ".join(f"{row['worker']} ({row['age_s']:.0f} s ago)" for row in alive[:10])
    return [Check(check="workers", state="ok", says=f"{len(alive)} live: {names}")]


async def _backlog(conn: Connection) -> Check:
    row = await health.backlog(conn)
    oldest = max(row["events_age_s"], row["commands_age_s"])
    says = f"{row['events']} events and {row['commands']} commands are due, the oldest for {oldest:.0f} s"
    if row["kept_back"]:
        says += f"; holds and brakes keep back {row['kept_back']} more"
    state = worse_than(oldest, BACKLOG_WARN_S, BACKLOG_MAX_S)
    do = (
        ""
        if state == "ok"
        else "cardrail worker (one more); cardrail commands list --status unknown: does Stripe answer?"
    )
    return Check(check="backlog", state=state, says=says, do=do)


async def _complete(conn: Connection) -> Check:
    mark = await gauges.complete_until(conn)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    do = f"cardrail backfill --since {yesterday:%Y-%m-%dT%H:%M:%SZ} --yes"
    if mark is None:
        return Check(check="gaps", state="warning", says="no worker has hunted for missing events yet", do=do)
    until, ago_s = mark
    says = f"no event is missing up to {until:%Y-%m-%d %H:%M:%S}Z"
    if ago_s > HUNT_MAX_S:
        old = f"{says}, but that is {timedelta(seconds=round(ago_s))} old"
        return Check(check="gaps", state="wrong", says=old, do=do)
    return Check(check="gaps", state="ok", says=says)


async def _brakes(conn: Connection) -> list[Check]:
    rows = await controls.brakes(conn)
    if not rows:
        return [Check(check="brakes", state="ok", says="none is on")]
    return [
        Check(
            check=f"brake {row['step']}",
            state="wrong" if row["by"] == BY_ITSELF else "warning",
            says=f"on since {row['at']:%Y-%m-%d %H:%M}Z, {row['by']}: {row['reason']}",
            do=(f"cardrail commands list --kind {row['step']} says why; then " if row["by"] == BY_ITSELF else "")
            + f"cardrail brakes release {row['step']} --reason WHY --yes",
        )
        for row in rows
    ]


def _about_parked(fingerprint: str, code: str) -> str:
    if code == "outcome_unknown":
        again, over = (
            f"cardrail parked retry {fingerprint} --yes",
            f"cardrail parked discard {fingerprint} --reason WHY --yes",
        )
        return f"{again} looks once more; if Stripe's dashboard shows nothing either: {over}"
    return f"cardrail parked retry {fingerprint} --yes once the cause is gone"


async def _parked(conn: Connection) -> list[Check]:
    rows = await parked.groups(conn)
    if not rows:
        return [Check(check="parked", state="ok", says="nothing needs a person")]
    return [
        Check(
            check=f"parked {row['what']} {row['kind']}",
            state="wrong",
            says=f"{row['count']} x {row['code']} since {row['oldest']:%Y-%m-%d %H:%M}Z, for example {row['example']}:"
            f" {in_words(row['code'], row['message'] or '')}",
            do=_about_parked(row["fingerprint"], row["code"]),
        )
        for row in rows
    ]


async def _refused(conn: Connection) -> list[Check]:
    """Accounts that stand because Stripe refused their step: nothing goes on there by itself."""
    rows = await health.refused_steps(conn, {state: kind for state, (_, kind) in STEPS.items()})
    return [
        Check(
            check=f"refused {row['kind']}",
            state="wrong",
            says=f"{row['count']} accounts stand at it since {row['oldest']:%Y-%m-%d %H:%M}Z ({row['code']}),"
            f" for example {row['example']}",
            do="cardrail accounts list --stuck; then, for each, cardrail accounts retry ACCT --reason WHY --yes",
        )
        for row in rows
    ]
