"""The shapes of answers, for the API's description. Money is minor units with its currency; times are RFC 3339 UTC."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    model_validator,
)
from pydantic_core import PydanticCustomError

T = TypeVar("T")

AccountId = Annotated[str, Field(description="A Stripe account.", examples=["acct_1SMxConnDemo"])]
Time = Annotated[AwareDatetime, Field(description="RFC 3339, UTC.", examples=["2026-11-24T10:00:00Z"])]
State = Literal[
    "enrolled",
    "onboarding",
    "verifying",
    "activated",
    "provisioned",
    "funding",
    "funded",
    "cardholder_ready",
    "live",
    "restricted",
    "rejected",
    "closed",
]
"""The account's lifecycle (a test compares it with the machine)."""


def _written(value: object) -> object:
    """Only a written time is one: a bare number would be read as seconds since 1970."""
    if isinstance(value, str) and not _MOMENT.match(value):
        raise PydanticCustomError("moment", "Must be an RFC 3339 time with its zone, such as 2026-11-24T10:00:00Z")
    if isinstance(value, int | float):
        raise PydanticCustomError("moment", "Must be an RFC 3339 time in a string")
    return value


def _written_day(value: object) -> object:
    """As for a time: a bare number is no day."""
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise PydanticCustomError("day", "Must be a day such as 2026-11-24")
    return value


def _in_utc(value: datetime) -> datetime:
    """The first and the last day of the calendar have times that no other zone can say."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "Must be a time between the years 1 and 9999 in UTC") from None


_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]
"""A time that a caller names."""
Status = Literal["pending", "applied", "ignored", "parked"]
"""Where an event stands."""
Source = Literal["webhook", "response", "poll", "request", "timer"]
"""Where an event comes from."""
Day = Annotated[date, BeforeValidator(_written_day)]
"""A day that a caller names."""
MONEY_MAX = 1_000_000_000_000


class Body(BaseModel):
    """What a caller sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    @model_validator(mode="after")
    def _storable(self) -> Self:
        for name, value in self:
            if isinstance(value, str) and "\x00" in value:
                raise ValueError(f"{name}: Holds a NUL character")
        return self


class Money(BaseModel):
    """An amount of money."""

    value: int = Field(description="Minor units (cents; USDC counts two decimals).", examples=[10_000])
    currency: str = Field(description="Lower-case currency.", examples=["usdc"])


class Positive(Body):
    """An amount of money that moves: positive, minor units."""

    value: StrictInt = Field(
        gt=0, le=MONEY_MAX, description="Minor units (cents; USDC counts two decimals).", examples=[10_000]
    )


class Reason(Body):
    """Why: kept with who and when."""

    reason: str = Field(
        min_length=1,
        max_length=500,
        pattern=r"\S",
        description="For whoever looks later; kept in clear: name no holder.",
        examples=["Fraud check"],
    )


class Accepted(BaseModel):
    """A request was taken; ``href`` is what to poll."""

    id: str = Field(description="Name of the request.", examples=["req_0f3a2b1c4d5e6f708192a3b4"])
    state: str = Field(description="Where the request stands.", examples=["requested"])
    href: str = Field(
        description="What to poll.", examples=["/v1/accounts/acct_1/objects/req_0f3a2b1c4d5e6f708192a3b4"]
    )


class EnrollmentAccepted(Accepted):
    """An enrollment was taken, or stands since an earlier request with the same reference."""

    id: str = Field(description="Name of the enrollment.", examples=["enr_0f3a2b1c4d5e6f708192a3b4"])
    href: str = Field(description="What to poll.", examples=["/v1/enrollments/enr_0f3a2b1c4d5e6f708192a3b4"])
    account: str | None = Field(description="The account, once Stripe made it.", examples=["acct_1SMxConnDemo"])


class Error(BaseModel):
    """Something that went wrong, in words, with a stable code."""

    model_config = ConfigDict(extra="allow")
    code: str = Field(description="Stable code (Stripe's own where Stripe said no).", examples=["insufficient_funds"])
    message: str | None = Field(None, description="One sentence.", examples=["The balance is too low."])


class Enrollment(BaseModel):
    """An enrollment: an account that was asked for."""

    id: str = Field(description="Follows from the reference.", examples=["enr_5f1d7a84db00d2fce00b31a7"])
    reference: str | None = Field(description="The caller's own name for it.", examples=["customer-42"])
    state: Literal["requested", "created", "rejected"] = Field(description="Where it stands.", examples=["created"])
    account: str | None = Field(description="The account, once made.", examples=["acct_1SMxConnDemo"])
    error: Error | None = Field(description="Why Stripe said no, or why it waits.")
    created: Time


class Hold(BaseModel):
    """Automation is stopped for this account."""

    by: str = Field(description="Who stopped it.", examples=["ops-console"])
    reason: str = Field(description="Why.", examples=["Fraud check"])
    at: Time


class Waiting(BaseModel):
    """What an account waits for, and whom."""

    model_config = ConfigDict(extra="allow")
    what: str = Field(description="What must happen.", examples=["the holder must finish onboarding"])
    who: str | None = Field(description="Who must act.", examples=["holder"])
    since: Time
    deadline: Time | None = Field(description="When it counts as stuck.", examples=["2026-12-01T10:00:00Z"])


class LastError(BaseModel):
    """The newest thing that went wrong and is not over."""

    what: Literal["command", "event"] = Field(description="What went wrong.", examples=["command"])
    id: str = Field(description="Its id.", examples=["cmd_9c1185a5c5e9fc54612808977e"])
    status: str = Field(description="Its status.", examples=["parked"])
    code: str | None = Field(description="Stable code.", examples=["insufficient_funds"])
    message: str | None = Field(description="One sentence.", examples=["The balance is too low."])
    at: Time


class FinancialAccount(BaseModel):
    """The account's own financial account."""

    id: str = Field(description="Stripe's id.", examples=["fa_test_65SDemoConn"])
    status: str = Field(description="Stripe's word.", examples=["open"])


class Balance(BaseModel):
    """Balance of the financial account in USDC when it was last read."""

    available: Money = Field(description="Free to use.")
    inbound_pending: Money = Field(description="On the way in.")
    outbound_pending: Money = Field(description="On the way out.")
    at: Time | None = Field(description="When it was read.", examples=["2026-11-24T10:00:00Z"])


class AccountSummary(BaseModel):
    """Where an account stands."""

    id: AccountId
    state: State = Field(description="Lifecycle state.", examples=["live"])
    since: Time
    version: int = Field(description="Grows with every change.", examples=[17])
    programme: str = Field(description="The programme that rules it.", examples=["default"])
    country: str | None = Field(description="Upper-case country.", examples=["MX"])
    enrolled: bool = Field(description="Whether automatic commands may leave for it.", examples=[True])
    held: Hold | None = Field(description="Set while automation is stopped.")
    waiting_for: Waiting | None = Field(description="What it waits for; null when nothing is due.")
    next_command: str | None = Field(description="The command that follows by itself.", examples=["create_card"])
    last_error: LastError | None = Field(description="What went wrong and is not over.")
    card_count: int = Field(description="Cards that are not canceled.", examples=[1])


class Account(AccountSummary):
    """Everything about an account in one read."""

    reference: str | None = Field(description="The reference it was enrolled under.", examples=["customer-42"])
    enrollment: str | None = Field(description="The enrollment.", examples=["enr_5f1d7a84db00d2fce00b31a7"])
    capabilities: dict[str, str] = Field(
        description="Status of each capability by its path.",
        examples=[{"money_manager.business_storage.inbound.usdc": "active"}],
    )
    requirements: list[dict[str, Any]] = Field(
        description="What Stripe wants to know, the most urgent first: `{what, who, by, deadline, consequence, future}`.",
        examples=[[{"what": "identity.individual.id_numbers", "who": "holder", "by": "now", "future": False}]],
    )
    financial_account: FinancialAccount | None = Field(description="Null until it exists.")
    balance: Balance | None = Field(description="Null until it was read.")
    balances: dict[str, dict[str, int]] = Field(
        description="Available, inbound and outbound pending per currency, minor units.",
        examples=[{"usdc": {"available": 9_000, "inbound_pending": 0, "outbound_pending": 1_000}}],
    )
    negative: list[str] = Field(description="Currencies whose available balance is negative.", examples=[[]])
    cards: dict[str, str] = Field(description="Status of each card.", examples=[{"ic_1": "active"}])
    cardholder: str | None = Field(description="The cardholder's id.", examples=["ich_1"])
    first_spend: str | None = Field(description="The object of the first spend.", examples=["iauth_1"])
    explained: str = Field(description="The same in one sentence.", examples=["The account is live."])
    created: Time


class JournalLine(BaseModel):
    """One move of one machine."""

    model_config = ConfigDict(populate_by_name=True)
    account: AccountId
    seq: int = Field(description="Counts the account's lines without gaps.", examples=[3])
    machine: str = Field(description="`lifecycle`, or the object's kind.", examples=["lifecycle"])
    object_id: str = Field(description="What moved.", examples=["acct_1SMxConnDemo"])
    from_: str | None = Field(alias="from", description="State before; null when new.", examples=["funding"])
    to: str = Field(description="State after.", examples=["funded"])
    event_id: str = Field(description="The event that moved it.", examples=["evt_1"])
    at: Time
    commands: list[str] = Field(description="Commands issued with it.", examples=[["cmd_9c1185a5c5e9fc54612808977e"]])
    note: str | None = Field(description="More, in words.", examples=[None])


class Linked(BaseModel):
    """Another object that belongs to this one."""

    kind: str = Field(description="What it is; `decision` is our own answer.", examples=["authorization"])
    id: str = Field(description="Its id.", examples=["iauth_1"])
    state: str = Field(description="Where it stands.", examples=["closed"])
    href: str = Field(description="Where to read it.", examples=["/v1/accounts/acct_1/objects/iauth_1"])


class StripeObject(BaseModel):
    """An object that we follow: the members named here, and Stripe's own that we keep."""

    model_config = ConfigDict(extra="allow")
    id: str = Field(description="Stripe's id, or a request's.", examples=["ic_1"])
    kind: str = Field(description="What it is.", examples=["card"])
    state: str = Field(description="Stripe's own word.", examples=["active"])
    observed_at: Time
    version: int = Field(description="Grows with every change.", examples=[2])
    links: list[Linked] | None = Field(None, description="What belongs together; on one object only.")
    links_left_off: bool | None = Field(None, description="Whether there are more links.", examples=[False])


class Event(BaseModel):
    """One event of an account's log."""

    id: str = Field(description="Stripe's id, or ours.", examples=["evt_1"])
    account: AccountId
    type: str = Field(description="Stripe's type, or ours.", examples=["v2.core.account.updated"])
    source: str = Field(description="webhook, response, poll, request or timer.", examples=["webhook"])
    status: str = Field(description="pending, applied, ignored or parked.", examples=["applied"])
    created: Time
    received_at: Time
    deliveries: int = Field(description="How often it came.", examples=[1])
    attempts: int = Field(description="How often folding it failed.", examples=[0])
    error: Error | None = Field(description="Why it is parked, ignored or late.")


class Link(BaseModel):
    """A neighbour in the chain of causes."""

    what: Literal["event", "command"] = Field(description="What it is.", examples=["command"])
    id: str = Field(description="Its id.", examples=["cmd_9c1185a5c5e9fc54612808977e"])
    type: str = Field(description="Type of the event or kind of the command.", examples=["create_card"])
    status: str = Field(description="Its status.", examples=["settled"])
    account: AccountId


class Chain(BaseModel):
    """Where an event came from and what came of it."""

    caused_by: list[Link] = Field(description="From the nearest cause outwards.")
    caused: list[Link] = Field(description="Commands and events that followed.")


class EventDetail(Event):
    """An event with all that belongs to it."""

    kind: str = Field(description="snapshot, thin or internal.", examples=["thin"])
    payload: Any = Field(
        description="The body as it came (personal data only with `operate`).",
        examples=[{"id": "evt_1", "type": "v2.core.account.updated"}],
    )
    payload_dropped: bool = Field(description="Whether retention took body and readings away.", examples=[False])
    fetched: Any = Field(
        description="Objects read for it, by URL (personal data only with `operate`).",
        examples=[{"/v2/core/accounts/acct_1": {}}],
    )
    applied_at: Time | None = Field(description="When it was applied.", examples=["2026-11-24T10:00:01Z"])
    journal: list[JournalLine] = Field(description="What it did.")
    chain: Chain = Field(description="Causes and effects.")


class Command(BaseModel):
    """One Stripe write that was intended."""

    id: str = Field(description="Follows from account and intent.", examples=["cmd_9c1185a5c5e9fc54612808977e"])
    account: AccountId
    kind: str = Field(description="What it asks of Stripe.", examples=["create_card"])
    intent: str = Field(description="The reason, which exists once.", examples=["card/1"])
    status: str = Field(description="pending, in_flight, unknown, settled, rejected, parked.", examples=["settled"])
    attempts: int = Field(description="Calls made.", examples=[1])
    amount: Money | None = Field(description="What it moves, when it moves money.")
    object_id: str | None = Field(description="What Stripe made.", examples=["ic_1"])
    request_id: str | None = Field(description="Stripe's name for the call.", examples=["req_1"])
    error: Error | None = Field(description="The last error.")
    caused_by: str = Field(description="The event it came from.", examples=["evt_1"])
    due_at: Time
    created: Time


class Brake(BaseModel):
    """One step, or all, stopped everywhere."""

    step: str = Field(description="`all`, or a kind of command.", examples=["create_outbound_payment"])
    on: bool = Field(description="Whether it is stopped.", examples=[True])
    reason: str | None = Field(None, description="Why.", examples=["Stripe incident"])
    by: str | None = Field(None, description="Who stopped it.", examples=["ops-console"])
    at: Time | None = Field(None, description="Since when.", examples=["2026-11-24T10:00:00Z"])


class Listed(BaseModel, Generic[T]):
    """One page of a list."""

    model_config = ConfigDict(json_schema_extra={"description": "One page of a list; `next_cursor` leads on."})

    data: list[T] = Field(description="The rows.")
    next_cursor: str | None = Field(
        description="Pass as `cursor` for the next page; null at the end.", examples=["WyJhY2N0XzEiXQ"]
    )
