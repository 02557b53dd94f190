"""What can happen to an account, in our words: frozen facts in the past tense, never Stripe's JSON.

Every row of the event log is translated into a tuple of these before a machine sees it. ``at`` is always milliseconds
since the epoch, UTC; amounts are integers in minor units.
"""

import msgspec

Json = dict[str, object]


class Observed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A Stripe object was seen in some state, by webhook, by reading it, or as the outcome of a command.

    ``fields`` are those we serve and reason with (a whitelist per kind). ``sure`` is true for a reading of the live
    object (its ``at`` is the time of reading) and false for a snapshot, which only knows a whole second.
    """

    kind: str
    object_id: str
    status: str
    at: int
    fields: Json
    sure: bool = False


class CommandSettled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Stripe did what we asked; the object it answered with follows as an ``Observed`` of the same event."""

    command_id: str
    kind: str
    intent: str
    object_id: str | None
    at: int


class CommandRejected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Stripe said no for good; nothing was made under this intent."""

    command_id: str
    kind: str
    intent: str
    code: str
    message: str
    at: int


class CommandParked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The command waits for a person, with the reason why; nothing is known to have been made."""

    command_id: str
    kind: str
    intent: str
    code: str
    message: str
    at: int


class CommandRetried(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person let a parked command go again."""

    command_id: str
    kind: str
    intent: str
    at: int


class EnrollmentRequested(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An internal service asked for a new account (platform's log). ``request`` is the validated body."""

    enrollment_id: str
    request: Json
    at: int


class AccountEnrolled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The account's log opens: it came out of an enrollment, or was adopted on purpose (no enrollment)."""

    enrollment_id: str | None
    request: Json
    at: int


class ActionRequested(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An internal service or an operator asked for one thing beside the stages (a wallet, a transfer, a freeze, ...).

    ``request_id`` names the request for ever; ``action`` is a command kind; ``params`` its parameters.
    """

    request_id: str
    action: str
    params: Json
    at: int


class HoldPlaced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Automation of this account was stopped by a person."""

    by: str
    reason: str
    at: int


class HoldReleased(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Automation of this account may go on."""

    by: str
    reason: str
    at: int


class AttemptAllowed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person allowed one more attempt at a step that brought nothing. ``step`` is the kind of its command."""

    step: str
    by: str
    reason: str
    at: int


class DayBegan(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A UTC day began at which something goes on that waited for it; ``at`` is when it was noticed."""

    at: int


Happening = (
    Observed
    | CommandSettled
    | CommandRejected
    | CommandParked
    | CommandRetried
    | EnrollmentRequested
    | AccountEnrolled
    | ActionRequested
    | HoldPlaced
    | HoldReleased
    | AttemptAllowed
    | DayBegan
)
