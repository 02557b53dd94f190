"""Real-time decisions as the API, the CLI and the console show them: their shapes, and rows made into them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.store.decisions import differs
from app.store.views import Row, parsed
from app.web import shown
from app.web.schemas import AccountId, Money, Time

MONEY = [{"value": 1_250, "currency": "usd"}]
OBJECT: dict[str, Any] = {
    "id": "iauth_1",
    "object": "issuing.authorization",
    "card": {"id": "ic_1", "status": "active"},
    "merchant_data": {"category": "taxicabs_limousines", "country": "MX"},
    "pending_request": {"amount": 1_250, "currency": "usd", "is_amount_controllable": False},
}


class Decision(BaseModel):
    """One real-time authorization decision, with what Stripe recorded."""

    authorization: str = Field(description="The authorization.", examples=["iauth_1"])
    event: str = Field(description="The request that was answered.", examples=["evt_1"])
    account: AccountId
    card: str | None = Field(description="The card.", examples=["ic_1"])
    approved: bool = Field(description="What we answered.", examples=[True])
    reason: str = Field(description="Why: a stable code (docs/authorizations.md).", examples=["approved"])
    amount: Money = Field(description="What was approved, or asked for when declined.")
    decided_at: Time
    took_us: int = Field(description="Microseconds it took.", examples=[850])
    stripe_approved: bool | None = Field(description="What Stripe recorded.", examples=[True])
    stripe_reason: str | None = Field(description="Stripe's reason.", examples=["webhook_approved"])
    mismatch: bool = Field(
        description="Stripe recorded another outcome than we answered, or could not use our answer.", examples=[False]
    )


class DecisionDetail(Decision):
    """A decision with all that it rests on."""

    requested: Money = Field(description="What was asked for.")
    partial: bool = Field(description="Whether only a part was approved.", examples=[False])
    rules: str | None = Field(description="Version of the rules that decided.", examples=["9f86d081884c"])
    inputs: dict[str, Any] = Field(
        description="Balances and sums that were seen.", examples=[{"available": 10_000, "open": 0}]
    )


class Links(BaseModel):
    """Where more is told."""

    account: str = Field(description="The account.", examples=["/v1/accounts/acct_1"])
    card: str | None = Field(description="The card.", examples=["/v1/accounts/acct_1/objects/ic_1"])
    object: str = Field(description="The authorization itself.", examples=["/v1/accounts/acct_1/objects/iauth_1"])
    event: str = Field(description="The newest request.", examples=["/v1/events/evt_1"])


class AuthorizationDetail(BaseModel):
    """An authorization: every decision on it, and how it stands at Stripe."""

    authorization: str = Field(description="The authorization.", examples=["iauth_1"])
    account: AccountId
    card: str | None = Field(description="The card.", examples=["ic_1"])
    state: str | None = Field(description="Stripe's word; null until an event told it.", examples=["pending"])
    approved: bool = Field(description="The newest answer.", examples=[True])
    reason: str = Field(description="Why.", examples=["approved"])
    mismatch: bool = Field(description="Whether any of the decisions is a mismatch.", examples=[False])
    decisions: list[DecisionDetail] = Field(description="Newest first: the first request, increments, repeats.")
    links: Links = Field(description="Paths of what belongs to it.")


class TrialAsked(BaseModel):
    """What to try: a stored event by its id, or an event or authorization as Stripe would send it, here or as the whole body."""

    model_config = ConfigDict(extra="allow")
    event: str | dict[str, Any] | None = Field(
        None, description="A stored authorization event by its id, or an event itself.", examples=[None]
    )
    authorization: dict[str, Any] | None = Field(
        None, description="An authorization with its `pending_request`, as Stripe would send it.", examples=[OBJECT]
    )
    account: str | None = Field(
        None,
        max_length=255,
        description="Whose it is, where that does not follow from the event.",
        examples=["acct_1SMxConnDemo"],
    )
    rules: dict[str, Any] | None = Field(
        None,
        description="The `[authorization]` table of a programme to try instead of the one in force.",
        examples=[{"daily": 50_000, "blocked_countries": ["US"]}],
    )

    @model_validator(mode="after")
    def _one(self) -> "TrialAsked":
        if self.event is not None and self.authorization is not None:
            msg = "send `event` or `authorization`, not both"
            raise ValueError(msg)
        return self


class Room(BaseModel):
    """How much more one rule allows."""

    reason: str = Field(description="What a decline by it would be called.", examples=["insufficient_balance"])
    room: Money = Field(description="What it leaves; negative where it is exceeded already.")


class Trial(BaseModel):
    """What would be answered now. Nothing was decided, locked or recorded."""

    approved: bool = Field(description="What would be answered.", examples=[True])
    reason: str = Field(description="Why: a stable code.", examples=["approved"])
    rule: str = Field(description="As the reply's metadata would name it.", examples=["approved"])
    says: str = Field(description="The reason in words.", examples=["Approved as asked."])
    rules: str = Field(description="Version of the rules that were tried.", examples=["9f86d081884c"])
    amount: Money = Field(description="What would be approved, or was asked for when declined.")
    requested: Money = Field(description="What is asked for.")
    partial: bool = Field(description="Whether only a part would be approved.", examples=[False])
    reserved: Money = Field(description="What would be held.")
    account: AccountId
    authorization: str = Field(description="The authorization.", examples=["iauth_1"])
    card: str = Field(description="The card.", examples=["ic_1"])
    event: str | None = Field(description="The stored event that was tried.", examples=["evt_1"])
    asked_again: bool = Field(
        description="It asks for nothing any more, so all of its amount was asked for again.", examples=[False]
    )
    inputs: dict[str, Any] = Field(
        description="Standing, balances and sums that were seen.", examples=[{"available": 10_000, "open": 0}]
    )
    ceilings: list[Room] = Field(description="Every ceiling, the tightest first.")
    took_us: int = Field(description="Microseconds that reading and judging took.", examples=[850])


def decision(row: Row) -> dict[str, Any]:
    """A row of the list."""
    return {
        "authorization": row["authorization_id"],
        "event": row["request_event_id"],
        "account": row["account_id"],
        "card": row["card_id"],
        "approved": row["approved"],
        "reason": row["reason"],
        "amount": shown.money(row["amount"] if row["approved"] else row["requested"], row["currency"]),
        "decided_at": row["decided_at"],
        "took_us": row["took_us"],
        "stripe_approved": row["stripe_approved"],
        "stripe_reason": row["stripe_reason"],
        "mismatch": differs(row),
    }


def detailed(row: Row) -> dict[str, Any]:
    """A row with what it rests on."""
    inputs: dict[str, Any] = dict(parsed(row["inputs"]) or {})
    return {
        **decision(row),
        "requested": shown.money(row["requested"], row["currency"]),
        "partial": inputs.get("partial") is True,
        "rules": inputs.get("rules"),
        "inputs": inputs,
    }


def authorization(rows: list[Row], state: str | None) -> dict[str, Any]:
    """One authorization from its decisions, newest first."""
    newest, decided = rows[0], [detailed(row) for row in rows]
    account, card = newest["account_id"], newest["card_id"]
    things = f"/v1/accounts/{account}/objects"
    return {
        "authorization": newest["authorization_id"],
        "account": account,
        "card": card,
        "state": state,
        "approved": newest["approved"],
        "reason": newest["reason"],
        "mismatch": any(one["mismatch"] for one in decided),
        "decisions": decided,
        "links": {
            "account": f"/v1/accounts/{account}",
            "card": card and f"{things}/{card}",
            "object": f"{things}/{newest['authorization_id']}",
            "event": f"/v1/events/{newest['request_event_id']}",
        },
    }
