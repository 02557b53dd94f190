"""Stripe's spending controls of a card or a cardholder, checked as Stripe documents them.

Amounts are US cents. The strictest limit wins, and nothing lifts the fixed 10,000 USD per authorization.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from app.machines.programme import HARD_CAP
from app.web import schemas

Interval = Literal["per_authorization", "daily", "weekly", "monthly", "yearly", "all_time"]
LISTED_MAX = 300
LIMITS_MAX = 50

Category = Annotated[str, Field(pattern=r"^[a-z0-9_]{2,100}$", examples=["airlines_air_carriers"])]
Merchant = Annotated[str, Field(pattern=r"^[A-Za-z]{2}$", examples=["US"]), AfterValidator(str.upper)]
Presence = Literal["present", "not_present"]


class SpendingLimit(schemas.Body):
    """A ceiling on spending."""

    amount: int = Field(gt=0, le=schemas.MONEY_MAX, strict=True, description="US cents.", examples=[200_000])
    interval: Interval = Field(description="Over what.", examples=["daily"])
    categories: list[Category] = Field(
        default_factory=list, max_length=LISTED_MAX, description="Merchant categories; empty: all.", examples=[[]]
    )

    @model_validator(mode="after")
    def _below_the_cap(self) -> "SpendingLimit":
        if self.interval == "per_authorization" and self.amount > HARD_CAP:
            raise ValueError(f"amount: above the fixed {HARD_CAP} cents per authorization, so it would limit nothing")
        return self


class SpendingControls(schemas.Body):
    """Stripe's own spending controls: of each pair of lists one at most."""

    allowed_categories: list[Category] | None = Field(
        None, max_length=LISTED_MAX, description="Only these merchant categories.", examples=[None]
    )
    blocked_categories: list[Category] | None = Field(
        None, max_length=LISTED_MAX, description="None of these.", examples=[["betting_casino_gambling"]]
    )
    allowed_merchant_countries: list[Merchant] | None = Field(
        None, max_length=LISTED_MAX, description="Only these countries.", examples=[None]
    )
    blocked_merchant_countries: list[Merchant] | None = Field(
        None, max_length=LISTED_MAX, description="None of these.", examples=[["KP"]]
    )
    allowed_card_presences: list[Presence] | None = Field(
        None, max_length=2, description="Only with (or without) the card at hand.", examples=[None]
    )
    blocked_card_presences: list[Presence] | None = Field(None, max_length=2, description="Not so.", examples=[None])
    spending_limits: list[SpendingLimit] | None = Field(None, max_length=LIMITS_MAX, description="Ceilings.")

    @model_validator(mode="after")
    def _one_list_each(self) -> "SpendingControls":
        for what in ("categories", "merchant_countries", "card_presences"):
            if getattr(self, f"allowed_{what}") and getattr(self, f"blocked_{what}"):
                raise ValueError(f"allowed_{what} and blocked_{what} exclude each other")
        return self

    def whole(self) -> dict[str, Any]:
        """All of the controls for an update: what is not given is emptied, as Stripe's form wants it (``""``)."""
        given = self.model_dump(exclude_none=True)
        return {name: given.get(name) or "" for name in SpendingControls.model_fields}


class CardholderSpendingControls(SpendingControls):
    """Spending controls over all cards of a cardholder."""

    spending_limits_currency: Literal["usd"] | None = Field(None, description="Currency.", examples=["usd"])

    def whole(self) -> dict[str, Any]:
        """As for a card, with the currency where it is given."""
        currency = self.spending_limits_currency
        return {**super().whole(), **({"spending_limits_currency": currency} if currency else {})}
