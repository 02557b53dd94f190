"""What people and internal services ask for, turned into events of the log: the only way a request changes an account.

Functions take a connection inside the caller's transaction and never commit; they return what a 202 shows. Holds and
brakes work at once (a column, a row) and are told to the log as well, so that a rebuild knows of them.
"""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, cast

import asyncpg
import msgspec

from app.errors import BadInput, Conflict, NotFound
from app.machines import lifecycle
from app.machines.commands import KINDS
from app.machines.events import (
    AccountEnrolled,
    ActionRequested,
    AttemptAllowed,
    CommandRejected,
    CommandRetried,
    EnrollmentRequested,
    Happening,
    HoldPlaced,
    HoldReleased,
    Json,
)
from app.machines.lifecycle import Facts
from app.machines.programme import Programme
from app.store import controls, log, states, views

Row = Mapping[str, Any]
ENROLLMENT_TYPE = "enrollment.requested"
BRAKES = ("all", *KINDS)


def enrollment_id(reference: str) -> str:
    """The id of the one enrollment of this reference."""
    return "enr_" + hashlib.sha256(reference.encode()).hexdigest()[:24]


def new_id() -> str:
    """A name for a request."""
    return "req_" + secrets.token_hex(12)


async def enroll(
    conn: asyncpg.Connection, *, platform: str, programme: Programme, request: Json, at_ms: int
) -> dict[str, Any]:
    """Ask for a new account. The same reference again is the same enrollment, whatever else was sent."""
    country = str(request["country"])
    if country not in programme.countries:
        sentence = (
            f"The programme {programme.name} has no accounts in {country}: {', '.join(programme.countries)} only."
        )
        raise _field("country", sentence, "country_not_in_programme")
    if request.get("programme") not in (None, programme.name):
        raise _field("programme", f"The programme here is {programme.name}.", "unknown_programme")
    made = enrollment_id(str(request["reference"]))
    asked = EnrollmentRequested(enrollment_id=made, request=request, at=at_ms)
    await _append(conn, platform, made, ENROLLMENT_TYPE, asked)
    row = await views.enrollment(conn, platform, made)
    data = (views.parsed(row["data"]) or {}) if row is not None else {}
    state = row["state"] if row is not None else "requested"
    return {"id": made, "state": state, "account": data.get("account"), "href": f"/v1/enrollments/{made}"}


async def act(
    conn: asyncpg.Connection, account_id: str, action: str, params: Mapping[str, object], *, at_ms: int
) -> dict[str, Any]:
    """Ask for one thing of an enrolled account; ``action`` is a command kind."""
    await enrolled(conn, account_id)
    return await ask(conn, account_id, new_id(), action, params, at_ms=at_ms)


async def ask(
    conn: asyncpg.Connection, account_id: str, made: str, action: str, params: Mapping[str, object], *, at_ms: int
) -> dict[str, Any]:
    """Tell the log that this was asked for. The same name again is the same request."""
    asked = ActionRequested(request_id=made, action=action, params=cast("Json", dict(params)), at=at_ms)
    await _append(conn, account_id, made, f"{action}.requested", asked)
    return {"id": made, "state": "requested", "href": href(account_id, made)}


def href(account_id: str, request_id: str) -> str:
    """Where a request can be watched."""
    return f"/v1/accounts/{account_id}/objects/{request_id}"


async def act_on_object(
    conn: asyncpg.Connection,
    account_id: str,
    object_id: str,
    action: str,
    params: Mapping[str, object],
    *,
    kind: str,
    at_ms: int,
) -> dict[str, Any]:
    """Ask for one thing of one object of the account, which must be there and of that kind."""
    await enrolled(conn, account_id)
    found = await views.object_of(conn, account_id, object_id)
    if found is None or found["kind"] != kind:
        raise NotFound(f"The account {account_id} has no {kind} {object_id}.")
    return await act(conn, account_id, action, params, at_ms=at_ms)


async def known(conn: asyncpg.Connection, account_id: str) -> Row:
    """The account, or NotFound."""
    found = await controls.lock_account(conn, account_id)
    if found is None:
        raise NotFound(f"There is no account {account_id}.")
    return found


async def enrolled(conn: asyncpg.Connection, account_id: str) -> Row:
    """The account if it takes commands: NotFound or Conflict otherwise."""
    found = await controls.find_account(conn, account_id)
    if found is None:
        raise NotFound(f"There is no account {account_id}.")
    if not found["enrolled"]:
        raise Conflict(f"{account_id} is not enrolled here, so nothing is sent for it.", code="account_not_enrolled")
    if found["state"] in ("closed", "rejected"):
        raise Conflict(f"{account_id} is {found['state']}.", code=f"account_{found['state']}")
    return found


async def hold(conn: asyncpg.Connection, account_id: str, *, by: str, reason: str, at_ms: int) -> dict[str, Any]:
    """Stop the automation of an account at once. A hold on a held account replaces its reason."""
    await known(conn, account_id)
    placed = HoldPlaced(by=by, reason=reason, at=at_ms)
    await controls.set_hold(conn, account_id, {"by": by, "reason": reason, "at": at_ms})
    made = new_id()
    await _append(conn, account_id, made, "hold.placed", placed)
    return {"id": made, "state": "held", "href": f"/v1/accounts/{account_id}"}


async def release(conn: asyncpg.Connection, account_id: str, *, by: str, reason: str, at_ms: int) -> dict[str, Any]:
    """Let the automation go on where it stopped."""
    found = await known(conn, account_id)
    if found["hold"] is None:
        raise Conflict(f"{account_id} is not held.", code="not_held")
    await controls.set_hold(conn, account_id, None)
    made = new_id()
    await _append(conn, account_id, made, "hold.released", HoldReleased(by=by, reason=reason, at=at_ms))
    return {"id": made, "state": "released", "href": f"/v1/accounts/{account_id}"}


async def allow(
    conn: asyncpg.Connection, account_id: str, *, programme: Programme, by: str, reason: str, at_ms: int
) -> dict[str, Any]:
    """Allow the step at which the account stands: one more attempt (a new intent, a new key) where Stripe refused all
    before, or the first one, where the programme did not run the step when the account came there and runs it now.
    """
    await known(conn, account_id)
    await enrolled(conn, account_id)
    row = (await states.load_accounts(conn, [account_id]))[account_id]
    facts = msgspec.convert(row["facts"] or {}, Facts)
    never_left = lifecycle.next_command(account_id, facts, programme)
    step = never_left.kind if never_left is not None else lifecycle.failed_step(facts)
    if step is None:
        said = f"{account_id} is {row['state']} and has no step that Stripe refused: there is nothing to allow again."
        raise Conflict(said, code="nothing_refused")
    made = new_id()
    await _append(conn, account_id, made, "attempt.allowed", AttemptAllowed(step=step, by=by, reason=reason, at=at_ms))
    return {"id": made, "state": "allowed", "step": step, "href": f"/v1/accounts/{account_id}"}


async def standing_still(conn: asyncpg.Connection, account_id: str, step: str) -> str | None:
    """What keeps a command of this kind from leaving, and what helps: what was asked for waits as long. None: nothing."""
    if (await known(conn, account_id))["hold"] is not None:
        return f"the hold of {account_id}, under which purchases are declined: cardrail accounts release {account_id}"
    for on in await controls.brakes(conn):
        if on["step"] in ("all", step):
            return (
                f"the brake on {on['step']}, so Stripe has not been told: cardrail brakes release {on['step']};"
                f" until then cardrail accounts hold {account_id} declines purchases"
            )
    return None


async def brake(conn: asyncpg.Connection, step: str, *, on: bool, by: str, reason: str) -> dict[str, Any]:
    """Stop (or let go) one kind of command everywhere, or all of them."""
    if step not in BRAKES:
        raise NotFound(f"There is no step {step}; one of {', '.join(BRAKES)}.")
    if not on:
        await controls.release_brake(conn, step=step, reason=reason, by=by)
        return {"step": step, "on": False}
    row = await controls.set_brake(conn, step=step, reason=reason, by=by)
    return {"step": step, "on": True, "reason": row["reason"], "by": row["by"], "at": row["at"]}


async def adoptable(conn: asyncpg.Connection, account_id: str, *, platform: str) -> None:
    """Raises NotFound, or Conflict for an account that cannot be adopted: the platform's own, or one that is enrolled."""
    if account_id == platform:
        raise Conflict("The platform's own account is not adopted.", code="platform_account")
    found = await known(conn, account_id)
    if found["enrolled"]:
        raise Conflict(f"{account_id} is enrolled already.", code="already_enrolled")


async def adopt(conn: asyncpg.Connection, account_id: str, *, platform: str, by: str, at_ms: int) -> dict[str, Any]:
    """Take an account that we only followed under our care: automatic commands may leave for it from now on."""
    await adoptable(conn, account_id, platform=platform)
    made = f"adopt_{account_id}"
    adopted = AccountEnrolled(enrollment_id=None, request={"adopted_by": by}, at=at_ms)
    await _append(conn, account_id, made, "account.adopted", adopted)
    return {"id": made, "state": "adopted", "href": f"/v1/accounts/{account_id}"}


async def retry_command(conn: asyncpg.Connection, command_id: str, *, at_ms: int) -> dict[str, Any]:
    """Send a parked or waiting command as soon as possible, under its one key."""
    found = await _command(conn, command_id)
    if not await controls.retry_command(conn, found["account_id"], command_id):
        raise Conflict(
            f"{command_id} is {found['status']}: nothing is left to retry.", code=f"command_{found['status']}"
        )
    if found["status"] == "parked":
        said = CommandRetried(command_id=command_id, kind=found["kind"], intent=found["intent"], at=at_ms)
        made = f"retry_{command_id}_{at_ms}"
        await _append(conn, found["account_id"], made, "command.retried", said, caused_by=command_id)
    return {"id": command_id, "state": "pending", "href": f"/v1/commands/{command_id}"}


async def discard_command(
    conn: asyncpg.Connection, command_id: str, *, by: str, reason: str, at_ms: int
) -> dict[str, Any]:
    """Give up a command that is parked or was never sent; the log learns that nothing was made."""
    found = await _command(conn, command_id)
    account, sentence = found["account_id"], f"Discarded by {by}: {reason}"
    if not await controls.discard_command(conn, account, command_id, {"code": "discarded", "message": sentence}):
        raise Conflict(f"{command_id} is {found['status']}: it cannot be given up.", code=f"command_{found['status']}")
    said = CommandRejected(
        command_id=command_id, kind=found["kind"], intent=found["intent"], code="discarded", message=sentence, at=at_ms
    )
    await _append(conn, account, f"discard_{command_id}", "command.discarded", said, caused_by=command_id)
    return {"id": command_id, "state": "rejected", "href": f"/v1/commands/{command_id}"}


async def retry_event(conn: asyncpg.Connection, event_id: str) -> dict[str, Any]:
    """Fold a parked event again."""
    found = await _event(conn, event_id)
    if not await controls.retry_event(conn, found["account_id"], event_id):
        raise Conflict(
            f"{event_id} is {found['status']}: only a parked event is retried.", code=f"event_{found['status']}"
        )
    return {"id": event_id, "state": "pending", "href": f"/v1/events/{event_id}"}


async def ignore_event(conn: asyncpg.Connection, event_id: str, *, by: str, reason: str) -> dict[str, Any]:
    """Close a parked event without effect."""
    found = await _event(conn, event_id)
    error = {"code": "ignored_by_operator", "message": f"{by}: {reason}"}
    if not await controls.ignore_event(conn, found["account_id"], event_id, error):
        raise Conflict(
            f"{event_id} is {found['status']}: only a parked event is ignored.", code=f"event_{found['status']}"
        )
    return {"id": event_id, "state": "ignored", "href": f"/v1/events/{event_id}"}


async def _command(conn: asyncpg.Connection, command_id: str) -> Row:
    found = await views.command(conn, command_id)
    if found is None:
        raise NotFound(f"There is no command {command_id}.")
    return found


async def _event(conn: asyncpg.Connection, event_id: str) -> Row:
    found = await views.event(conn, event_id)
    if found is None:
        raise NotFound(f"There is no event {event_id}.")
    return found


def _field(name: str, sentence: str, code: str) -> BadInput:
    return BadInput(sentence, code=code, status=422, details={"errors": [{"field": name, "message": sentence}]})


async def _append(
    conn: asyncpg.Connection,
    account_id: str,
    event_id: str,
    type: str,  # noqa: A002 - Stripe's word for it
    happening: Happening,
    caused_by: str | None = None,
) -> bool:
    return await log.append(
        conn,
        account_id=account_id,
        event_id=event_id,
        source="request",
        type=type,
        happenings=(happening,),
        at_ms=happening.at,
        caused_by=caused_by,
    )
