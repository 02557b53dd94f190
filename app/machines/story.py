"""The fold: what one event makes of an account. The same function runs live, in a rebuild and in a dry run.

A story is one account's facts and the objects that matter now. Folding an event changes the story in memory and tells
what must be written beside it: journal lines, commands, and events for other accounts' logs.
"""

from collections.abc import Iterable, Mapping

import msgspec

from app.machines import lifecycle, topup
from app.machines.commands import Command, Money, command_id
from app.machines.events import (
    AccountEnrolled,
    ActionRequested,
    AttemptAllowed,
    CommandParked,
    CommandRejected,
    CommandRetried,
    CommandSettled,
    DayBegan,
    EnrollmentRequested,
    Happening,
    HoldPlaced,
    HoldReleased,
    Json,
    Observed,
)
from app.machines.kernel import Machine, Object, Refused, Step
from app.machines.lifecycle import Facts
from app.machines.programme import Programme

MONEY_ACTIONS = ("create_outbound_payment", "create_outbound_transfer")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One journal line. ``commands`` are ids of commands issued with it."""

    machine: str
    object_id: str
    before: str | None
    after: str
    commands: tuple[str, ...] = ()
    note: str | None = None


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """An event for another account's log, written in the same transaction."""

    account_id: str
    happenings: tuple[Happening, ...]


class Told(msgspec.Struct, kw_only=True):
    """What folding one event brought, beside the changed story."""

    lines: list[Line] = []
    commands: list[Command] = []
    handed: list[Handed] = []
    refused: list[tuple[Observed, str]] = []
    changed: dict[str, Object] = {}


class Story(msgspec.Struct, kw_only=True):
    """One account as the fold sees it. ``objects`` holds at least those that the next event names."""

    account_id: str
    platform: bool
    facts: Facts
    objects: dict[str, Object]
    machines: Mapping[str, Machine]
    programme: Programme


def fold(story: Story, happenings: Iterable[Happening]) -> Told:
    """Fold the happenings of one event into the story. Raises only on a defect; a refusal is a value in ``refused``."""
    told = Told()
    at = 0
    for happening in happenings:
        at = max(at, happening.at)
        _one(story, happening, told)
    if not story.platform:
        _advance(story, told, at)
    return told


def _one(story: Story, happening: Happening, told: Told) -> None:
    facts = story.facts
    match happening:
        case Observed():
            _observed(story, happening, told)
        case CommandSettled():
            if happening.intent in facts.intents or lifecycle.of_step(happening.intent):
                facts.intents[happening.intent] = f"settled:{happening.object_id or ''}"
            _answered(story, happening, told)
        case CommandRejected():
            if happening.intent in facts.intents or lifecycle.of_step(happening.intent):
                facts.intents[happening.intent] = f"rejected:{happening.code}"
            _answered(story, happening, told)
        case CommandParked() | CommandRetried():
            _paused(story, happening, told)
        case EnrollmentRequested():
            _enrollment(story, happening, told)
        case AccountEnrolled():
            facts.enrolled = True
            facts.enrollment = happening.enrollment_id
            reference, country = happening.request.get("reference"), happening.request.get("country")
            facts.reference = str(reference) if reference else None
            facts.country = facts.country or (str(country) if country else None)
        case ActionRequested():
            _action(story, happening, told)
        case HoldPlaced():
            facts.hold = {"by": happening.by, "reason": happening.reason, "at": happening.at}
            told.lines.append(_mark(story, f"held by {happening.by}: {happening.reason}"))
        case HoldReleased():
            facts.hold = None
            told.lines.append(_mark(story, f"released by {happening.by}: {happening.reason}"))
        case AttemptAllowed():
            lifecycle.allow(facts, happening.step)
            said = f"one more {happening.step} allowed by {happening.by}: {happening.reason}"
            told.lines.append(_mark(story, said))
        case DayBegan():
            pass  # its time alone matters, to what may follow now


def _mark(story: Story, note: str) -> Line:
    state = story.facts.state
    return Line(machine="lifecycle", object_id=story.account_id, before=state, after=state, note=note)


def _observed(story: Story, seen: Observed, told: Told) -> None:
    recipient = seen.fields.get("recipient")
    if story.platform and seen.kind == "outbound_payment" and isinstance(recipient, str):
        told.handed.append(Handed(account_id=recipient, happenings=(seen,)))
    machine = story.machines.get(seen.kind)
    if machine is None:
        return
    outcome = machine.step(story.objects.get(seen.object_id), seen)
    match outcome:
        case Step(after, before, moved):
            had_spent, earlier = story.facts.first_spend, story.objects.get(seen.object_id)
            _put(story, told, after)
            if not story.platform or seen.kind == "financial_account":
                lifecycle.absorb(story.facts, after)
            if moved:
                told.lines.append(Line(machine=seen.kind, object_id=seen.object_id, before=before, after=after.state))
            for name, was, now in machine.part_moves(earlier, after):
                note = f"{name}: {was} -> {now}" if was else f"{name}: {now}"
                told.lines.append(
                    Line(machine=seen.kind, object_id=seen.object_id, before=after.state, after=after.state, note=note)
                )
            if story.facts.first_spend != had_spent:
                told.lines.append(_mark(story, f"first spend: {story.facts.first_spend}"))
        case Refused(reason):
            told.refused.append((seen, reason))
        case _:
            pass


def _put(story: Story, told: Told, held: Object) -> None:
    story.objects[held.object_id] = held
    told.changed[held.object_id] = held


def _enrollment(story: Story, asked: EnrollmentRequested, told: Told) -> None:
    if asked.enrollment_id in story.objects:
        return
    intent = f"enroll/{asked.enrollment_id}"
    data: Json = {"reference": asked.request.get("reference"), "country": asked.request.get("country"), "account": None}
    _put(
        story,
        told,
        Object(object_id=asked.enrollment_id, kind="enrollment", state="requested", data=data, observed_at=asked.at),
    )
    command = Command(
        kind="create_account", intent=intent, params={"enrollment": asked.enrollment_id}, object_id=asked.enrollment_id
    )
    issued = _issue(story, told, command) if "create_account" in story.programme.steps else ()
    told.lines.append(
        Line(machine="enrollment", object_id=asked.enrollment_id, before=None, after="requested", commands=issued)
    )


def _issue(story: Story, told: Told, command: Command) -> tuple[str, ...]:
    if command.intent in story.facts.intents:
        return ()
    if command.automatic and not story.platform:
        story.facts.intents[command.intent] = "issued"
    told.commands.append(command)
    return (command_id(story.account_id, command.intent),)


def _answered(story: Story, answer: CommandSettled | CommandRejected, told: Told) -> None:
    """Close the enrollment or the request that the answered command came from, if it came from one."""
    asked_id = answer.intent.removeprefix("enroll/")
    asked = story.objects.get(asked_id)
    if asked is None or asked.kind not in ("enrollment", "request"):
        return
    if isinstance(answer, CommandSettled):
        key = "account" if asked.kind == "enrollment" else "object_id"
        after = "created" if asked.kind == "enrollment" else "settled"
        data: Json = {**{k: v for k, v in asked.data.items() if k != "error"}, key: answer.object_id}
    else:
        after, data = "rejected", {**asked.data, "error": {"code": answer.code, "message": answer.message}}
    if asked.state == after:
        return
    _put(
        story,
        told,
        msgspec.structs.replace(asked, state=after, data=data, observed_at=answer.at, version=asked.version + 1),
    )
    told.lines.append(Line(machine=asked.kind, object_id=asked_id, before=asked.state, after=after))
    if asked.kind == "enrollment" and isinstance(answer, CommandSettled) and answer.object_id:
        opened = AccountEnrolled(
            enrollment_id=asked_id, request={k: asked.data.get(k) for k in ("reference", "country")}, at=answer.at
        )
        told.handed.append(Handed(account_id=answer.object_id, happenings=(opened,)))


def _paused(story: Story, said: CommandParked | CommandRetried, told: Told) -> None:
    """A request whose command waits for a person says so, and why, until the command goes again."""
    asked = story.objects.get(said.intent)
    if asked is None or asked.kind != "request" or asked.state not in ("requested", "parked"):
        return
    data: Json = {k: v for k, v in asked.data.items() if k != "error"}
    after = "requested"
    if isinstance(said, CommandParked):
        after, data["error"] = "parked", {"code": said.code, "message": said.message}
    if after == asked.state and data == asked.data:
        return
    changed = msgspec.structs.replace(asked, state=after, data=data, observed_at=said.at, version=asked.version + 1)
    _put(story, told, changed)
    told.lines.append(Line(machine="request", object_id=said.intent, before=asked.state, after=after))


def _action(story: Story, asked: ActionRequested, told: Told) -> None:
    if asked.request_id in story.objects:
        return
    params, error = _completed(story, asked)
    state = "rejected" if error else "requested"
    data: Json = {"action": asked.action, "object_id": None}
    if error:
        data["error"] = error
    _put(story, told, Object(object_id=asked.request_id, kind="request", state=state, data=data, observed_at=asked.at))
    issued: tuple[str, ...] = ()
    if not error:
        command = Command(
            kind=asked.action,
            intent=asked.request_id,
            params=params,
            object_id=asked.request_id,
            moves=_moved(asked.action, params),
            automatic=False,
        )
        issued = _issue(story, told, command)
    told.lines.append(Line(machine="request", object_id=asked.request_id, before=None, after=state, commands=issued))


def _moved(action: str, params: Json) -> Money | None:
    amount = params.get("amount")
    if action not in MONEY_ACTIONS or not isinstance(amount, dict):
        return None
    return Money(int(amount["value"]), str(amount["currency"]))


def _completed(story: Story, asked: ActionRequested) -> tuple[Json, Json | None]:
    """Fill in what the account itself knows; say what is missing when it does not."""
    facts, params = story.facts, dict(asked.params)
    account = (
        facts.financial_account.id if facts.financial_account and facts.financial_account.status == "open" else None
    )
    missing: Json | None = None
    match asked.action:
        case "create_outbound_payment":
            amount = params.get("amount")
            value = int(amount["value"]) if isinstance(amount, dict) else 0
            params = {**lifecycle.funding_params(story.account_id, account or "", value), **params}
        case "create_outbound_transfer":
            params = {"from_financial_account": account, "from_currency": "usdc", **params}
        case "create_card":
            holder = facts.cardholder.id if facts.cardholder else None
            base: Json = {"cardholder": holder, "currency": story.programme.card.currency, "status": "active"}
            params = {**base, "financial_account_v2": account, **params}
            if holder is None:
                missing = {"code": "no_cardholder", "message": "The account has no cardholder yet."}
        case _:
            return params, None
    if account is None:
        missing = {"code": "no_financial_account", "message": "The account has no open financial account."}
    return params, missing


def _advance(story: Story, told: Told, at: int) -> None:
    """Move the lifecycle to where the facts put it, and issue the command that leads on from there."""
    facts = story.facts
    before = facts.state
    after = lifecycle.stage(facts, story.programme)
    if after != before:
        facts.state, facts.since = after, at
    wanted = [lifecycle.next_command(story.account_id, facts, story.programme), *lifecycle.replaced(facts)]
    more = topup.wanted(story.account_id, facts, story.programme, at)
    if more is not None:
        topup.issued(facts, more, at)
    issued = tuple(made for command in [*wanted, more] if command is not None for made in _issue(story, told, command))
    if after != before or issued:
        told.lines.append(
            Line(machine="lifecycle", object_id=story.account_id, before=before, after=after, commands=issued)
        )
