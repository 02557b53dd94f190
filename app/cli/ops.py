"""What an operator does with the log and with Stripe: replay, rebuild, backfill, reconcile, doctor.

Dry by default: without ``--yes`` (or ``--repair``) a command only says what it would do. These run beside the service
on the same database, and need Stripe only where they read it.
"""

import asyncio
import hmac
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import asyncpg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli import differences
from app.cli.desk import (
    WHY,
    AsJson,
    EventSource,
    EventStatus,
    WhyOption,
    Yes,
    ending,
    err,
    moment,
    note_refusal,
    out,
    outcome_of,
    settings,
    show_json,
    show_rows,
    show_thing,
    whoami,
)
from app.cli.jobs import asks_for_a_key, counted, in_words, plan_in_words
from app.errors import BadInput, CardrailError, Forbidden
from app.log import configure_logging
from app.ops import backfill as backfills
from app.ops import doctor as doctors
from app.ops import jobs, rebuild, replay
from app.ops import reconcile as reconciles
from app.ops.parts import Actor
from app.store import audit, keys, replays
from app.wiring import Services, open_services

EventId = Annotated[str, typer.Argument(metavar="EVT", help="The event.")]
Modes = Literal["state", "resume", "force"]
MODE = "state: no command leaves; resume: the next step may follow; force: again."
Progressing = Callable[[int, int], None]
FOLLOW_EVERY_S = 0.2
NOBODY = "acct_unknown"
"""In the doctor's eyes the platform's own account, while Stripe does not say which it is."""
TOO_OLD = "Stripe keeps 30 days of events. How objects stand that changed before: cardrail reconcile"
GONE = (
    "Gone: Stripe does not know it under this key, and nothing can be told to the log. Look it up in Stripe's dashboard;"
    " cardrail doctor says whose key it is."
)


def who(reason: str) -> Actor:
    return Actor(who=whoami(), reason=reason)


def run(
    work: Callable[[Services], Awaitable[Any]], *, as_json: bool, change: str = "", reason: str | None = None
) -> Any:
    """Run ``work``. When a ``change`` (``backfill``, ``replays.stop rpl_1``) is refused, the audit keeps that."""
    configure_logging(level="warning")  # to stderr: what is asked for stands alone on stdout

    async def go() -> Any:
        async with open_services(settings(as_json=as_json)) as services:
            try:
                return await work(services)
            except CardrailError as error:
                async with services.pool.acquire() as conn:
                    await note_refusal(conn, error, change, reason)
                raise

    return ending(lambda: asyncio.run(go()), as_json=as_json)


def progress_bar(what: str, *, as_json: bool) -> tuple[Progress, Progressing]:
    """A progress bar on stderr, and what moves it."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=err, disable=as_json, transient=True)
    task = bar.add_task(what, total=None)
    return bar, lambda done, total: bar.update(task, completed=done, total=total)


def _undone(*, as_json: bool) -> None:
    if not as_json:
        out.print("Nothing was done: add --yes to do it.", highlight=False)


def replay_event(
    event_id: EventId,
    mode: Annotated[Modes | None, typer.Option(help=f"{MODE} Absent: resume, or state of what was applied.")] = None,
    reason: WhyOption = WHY,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Replay one event; without --yes say which transitions and commands would follow."""

    async def work(services: Services) -> dict[str, Any]:
        async with services.pool.acquire() as conn:
            row = await replay.found_event(conn, event_id)
            fitting = mode or ("state" if row["status"] == "applied" else "resume")
            if yes:
                return await _replayed(services, conn, row, fitting, who(reason))
            planned = await replay.plan(conn, services, row, fitting)
            key = _second_key(services, fitting, planned.amount)
            return {"dry_run": True, "would": planned.does, **planned.report(), **key}

    made = run(work, as_json=as_json, change=f"events.replay {event_id}" if yes else "", reason=reason)
    show_thing(made if as_json else plan_in_words(made), as_json=as_json)
    if not yes:
        _undone(as_json=as_json)
    elif made.get("needs_confirmation") and not as_json:
        out.print(asks_for_a_key(made["id"]), markup=False, highlight=False, soft_wrap=True)


def _second_key(services: Services, mode: str, amount: int) -> dict[str, str]:
    """What a dry run says of a force that one person may not do alone."""
    alone = mode != "force" or amount <= services.programme.caps.force_unconfirmed
    return {} if alone else {"with_yes": "it waits until another admin's key confirms it"}


def _check_reason(mode: str | None, reason: str, *, yes: bool) -> None:
    if mode == "force" and yes and reason == WHY:
        raise BadInput("A forced replay needs a --reason.", code="bad_replay")


async def _replayed(
    services: Services, conn: asyncpg.Connection, row: replays.Row, mode: str, actor: Actor
) -> dict[str, Any]:
    done = await jobs.replay_event(conn, services, row, mode, actor)
    target, result = row["event_id"], {"mode": mode, "id": done["id"], "state": done["state"]}
    await audit.note(conn, who=actor.who, action="events.replay", target=target, reason=actor.reason, result=result)
    said = {k: v for k, v in done.items() if k in ("id", "state", "needs_confirmation")}
    return {**done["plan"], **said, "event": row["event_id"]}


def start_replay(
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only of this type.")] = None,
    status: EventStatus = None,
    source: EventSource = None,
    since: Annotated[str | None, typer.Option(help="RFC 3339: arrived then or later.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339: arrived before.")] = None,
    mode: Annotated[Modes, typer.Option(help=MODE)] = "state",
    rate: Annotated[int, typer.Option(min=1, max=jobs.RATE_MAX, help="Events a second at most.")] = 100,
    reason: WhyOption = WHY,
    yes: Yes = False,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Work on it here and show how far it is.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Replay every event that a filter names, as a job that any worker carries on."""
    times = {name: moment(value) for name, value in (("since", since), ("until", until)) if value}
    asked = {"account": account, "type": type_, "status": status, "source": source, **times}

    async def work(services: Services) -> dict[str, Any]:
        _check_reason(mode, reason, yes=yes)
        async with services.pool.acquire() as conn, conn.transaction():
            actor = who(reason)
            made = await jobs.start(conn, services, asked, mode=mode, rate=rate, dry_run=not yes, actor=actor)
            if yes:
                await audit.note(
                    conn,
                    who=actor.who,
                    action="replays.start",
                    target=made["id"],
                    reason=reason,
                    result={**outcome_of(made), "total": made["total"], "mode": mode},
                )
        whole = {**made, **await _follow(services, made["id"], as_json=as_json)} if follow else made
        return whole if yes else {**whole, **_second_key(services, mode, (whole["forecast"] or {}).get("amount", 0))}

    made = run(work, as_json=as_json, change="replays.start" if yes else "", reason=reason)
    show_thing(made if as_json else in_words(made), as_json=as_json)
    if not yes:
        _undone(as_json=as_json)
    elif made.get("needs_confirmation") and not as_json:
        out.print(asks_for_a_key(made["id"]), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if made["state"] in {"failed", "stopped"} or made.get("failed") else 0)


@contextmanager
def _left_to_workers(job: str) -> Iterator[None]:
    """Ctrl-C ends the looking on, not the job: say so, and how to end that."""
    try:
        yield
    except asyncio.CancelledError:
        said = f"{job} goes on, carried by any worker. cardrail replays show {job}; cardrail replays stop {job}"
        err.print(said, markup=False, highlight=False, soft_wrap=True)
        raise


async def _follow(services: Services, job: str, *, as_json: bool) -> dict[str, Any]:
    worker = jobs.Replayer(services)
    bar, progress = progress_bar(job, as_json=as_json)
    with bar, _left_to_workers(job):
        while True:
            busy = await worker.poll()
            async with services.pool.acquire() as conn:
                row = await replays.find(conn, job)
            assert row is not None
            foreseen = row["forecast"] or {"events": 0, "complete": False}
            looking = row["state"] == "planned" and not foreseen["complete"]
            progress(foreseen["events"] if looking else row["done"], row["total"])
            if row["state"] != "running" and not looking:
                return dict(row)
            if not busy:
                await asyncio.sleep(FOLLOW_EVERY_S)


def confirm_replay(
    replay_id: Annotated[str, typer.Argument(metavar="REPLAY")],
    reason: WhyOption,
    key: Annotated[str | None, typer.Option(help="Absent: asked for, or the first line of what is piped in.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a forced replay run that somebody else asked for."""
    given = key or ending(_typed_key, as_json=as_json)

    async def work(services: Services) -> dict[str, Any]:
        async with services.pool.acquire() as conn, conn.transaction():
            actor = await _admin(services, conn, given, reason)
            made = await jobs.confirm(conn, replay_id, actor)
            result = {**outcome_of(made), "key": actor.key, "typed_by": whoami()}
            await audit.note(
                conn, who=actor.who, action="replays.confirm", target=replay_id, reason=reason, result=result
            )
        return made

    show_thing(run(work, as_json=as_json, change=f"replays.confirm {replay_id}", reason=reason), as_json=as_json)


def _typed_key() -> str:
    """The second key, typed unseen; on stderr and stdin, so that it is in no list of processes and stdout stays JSON."""
    if sys.stdin.isatty():
        typed = typer.prompt("Admin's API key, another than the one that asked", hide_input=True, err=True)
    else:
        typed = sys.stdin.readline()
    if not typed.strip():
        raise BadInput("An admin's key is needed: type it, pipe it in, or give --key.", code="key_missing")
    return str(typed).strip()


async def _admin(services: Services, conn: asyncpg.Connection, key: str, reason: str) -> Actor:
    """Who this admin's key is."""
    bootstrap = services.settings.admin_key
    if bootstrap is not None and hmac.compare_digest(bootstrap.encode(), key.encode()):
        return Actor(who="bootstrap", reason=reason, key="key_bootstrap")
    found = await keys.find(conn, key)
    if found is None or found["scope"] != "admin":
        raise Forbidden("This is no valid key with scope admin.")
    return Actor(who=found["name"], reason=reason, key=found["id"])


def stop_replay(
    replay_id: Annotated[str, typer.Argument(metavar="REPLAY")], reason: WhyOption = WHY, as_json: AsJson = False
) -> None:
    """Stop a bulk replay; what it did stays done."""

    async def work(services: Services) -> dict[str, Any]:
        async with services.pool.acquire() as conn, conn.transaction():
            made, by = await jobs.stop(conn, replay_id), who(reason).who
            await audit.note(
                conn, who=by, action="replays.stop", target=replay_id, reason=reason, result=outcome_of(made)
            )
            return made

    show_thing(run(work, as_json=as_json, change=f"replays.stop {replay_id}", reason=reason), as_json=as_json)


def rebuild_accounts(
    account: Annotated[str | None, typer.Argument(metavar="[ACCT]", help="The account; without it all.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Write what the log says where the state differs.")] = False,
    reason: WhyOption = WHY,
    as_json: AsJson = False,
) -> None:
    """Fold the log again from the first event on and compare with the stored state; exit 1 when they differ."""

    async def work(services: Services) -> dict[str, Any]:
        if account is None:
            if repair:
                raise BadInput("--repair takes one account.", code="account_missing")
            bar, progress = progress_bar("rebuild", as_json=as_json)
            with bar:
                found = await rebuild.check_all(services, progress)
            await _looked(services, "all", reason, {name: found[name] for name in ("accounts", "equal")})
            return {**found, "ok": found["equal"] == found["accounts"]}
        if repair:
            return {**await rebuild.repair(services, account, who(reason)), "ok": True}
        one = await rebuild.check(services, account)
        await _looked(services, account, reason, {"equal": one.equal, "events": one.events})
        return {**one.report(), "ok": one.equal}

    found = run(work, as_json=as_json, change=f"accounts.rebuild {account}" if repair else "", reason=reason)
    show_thing(found if as_json else differences.in_words(found), as_json=as_json)
    raise typer.Exit(0 if found["ok"] else 1)


async def _looked(services: Services, target: str, reason: str, result: dict[str, object]) -> None:
    actor = who(reason)
    async with services.pool.acquire() as conn:
        await audit.note(conn, who=actor.who, action="accounts.rebuild", target=target, reason=reason, result=result)


def backfill(
    since: Annotated[str, typer.Option(help="RFC 3339: from when.")],
    undelivered: Annotated[bool, typer.Option("--undelivered", help="v1: only what was not acknowledged.")] = False,
    reason: WhyOption = WHY,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Read events from Stripe that did not reach us."""

    async def work(services: Services) -> dict[str, Any]:
        bar, progress = progress_bar("backfill", as_json=as_json)
        with bar:
            found = await backfills.backfill(
                services, moment(since), who(reason), yes=yes, undelivered=undelivered, progress=progress
            )
        return found.report()

    found = run(work, as_json=as_json, change=f"backfill {since}" if yes else "", reason=reason)
    show_thing(found if as_json else counted(found, "by_type"), as_json=as_json)
    if found["too_old"] and not as_json:
        out.print(TOO_OLD, highlight=False, soft_wrap=True)
    if not yes:
        _undone(as_json=as_json)
    raise typer.Exit(1 if found["failed"] else 0)


def reconcile(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    reason: WhyOption = WHY,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Read live objects from Stripe and compare; with --yes tell the log what differs.

    Exit 1 when something differs and was not told to the log, is gone at Stripe, or could not be read.
    """

    async def work(services: Services) -> dict[str, Any]:
        bar, progress = progress_bar("reconcile", as_json=as_json)
        with bar:
            return await reconciles.reconcile(services, who(reason), yes=yes, account=account, progress=progress)

    found = run(work, as_json=as_json, change=f"reconcile {account or 'all'}" if yes else "", reason=reason)
    if as_json:
        show_json(found)
    else:
        show_rows(found["drift"], ["account", "kind", "object_id", "how", "here", "there", "fields"], as_json=False)
        told = {name: found[name] for name in ("accounts", "read", "by_kind", "failed", "events")}
        show_thing(counted(told, "by_kind"), as_json=False)
    gone = any(what.endswith(".gone") for what in found["by_kind"])
    if gone and not as_json:
        out.print(GONE, highlight=False, soft_wrap=True)
    if not yes and any(not what.endswith(".gone") for what in found["by_kind"]):
        _undone(as_json=as_json)
    raise typer.Exit(1 if found["failed"] or gone or (found["by_kind"] and not yes) else 0)


def doctor(as_json: AsJson = False) -> None:
    """Look for what is wrong, and say what would help; exit 1 when something is wrong."""
    configure_logging(level="warning")

    async def work() -> list[doctors.Check]:
        given = settings(as_json=as_json)
        try:
            async with open_services(given) as services:
                return await doctors.examine(services)
        except CardrailError as error:
            if error.code != "platform_unknown":
                return doctors.unopened(error)
            async with open_services(given.but(platform_account_id=NOBODY)) as services:
                return [*doctors.unopened(error), *await doctors.examine(services)]
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return [doctors.unreached(error, given.database_url)]

    found = ending(lambda: asyncio.run(work()), as_json=as_json)
    rows = [doctors.shown(check) for check in found]
    if as_json:
        show_json({"ok": not doctors.wrong(found), "checks": rows})
    else:
        show_rows(rows, ["check", "state", "says", "do"], as_json=False)
    raise typer.Exit(1 if doctors.wrong(found) else 0)
