"""Subscriptions: notices pushed to services that prefer that to asking, per the Standard Webhooks specification."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Header, Path, Query
from pydantic import AwareDatetime, BaseModel, Field, model_validator
from starlette.responses import Response

from app.errors import NotFound
from app.flow import receivers
from app.flow.notices import TEST, TYPES
from app.ops import subscriptions
from app.store import notices
from app.store import subscriptions as stored
from app.web import schemas
from app.web.deps import AdminWriting, Json, Operator, Page, Svc, page, reading
from app.web.problems import documented
from app.web.reasons import Why, words

router = APIRouter(prefix="/subscriptions", tags=["subscriptions"])
outward = APIRouter(tags=["subscriptions"])
"""What we call, for the description."""

SubscriptionPath = Annotated[
    str, Path(description="The subscription.", examples=["sub_0f3a2b1c4d5e6f708192a3b4"], max_length=255)
]
DeliveryPath = Annotated[
    str, Path(description="The delivery.", examples=["msg_0f3a2b1c4d5e6f708192a3b4c5d6e7f8"], max_length=255)
]
Wrong = documented(400, 401, 403, 404, 409, 422)

_URL = Field(
    min_length=1,
    max_length=receivers.URL_LENGTH_MAX,
    description="Where notices are posted to: https and a public address, unless settings allow others.",
    examples=["https://hooks.example.com/cardrail"],
)
_TYPES = Field(
    min_length=1,
    max_length=50,
    description="Types of notices; `card.*` and `*` are wildcards.",
    examples=[["account.*", "card.state_changed"]],
)
Url = Annotated[str, _URL]
Types = Annotated[list[Annotated[str, Field(max_length=100)]], _TYPES]
Accounts = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=255)]] | None,
    Field(min_length=1, max_length=1_000, description="Only of these accounts; null: of all.", examples=[["acct_1"]]),
]
Description = Annotated[str | None, Field(max_length=500, description="For humans.", examples=["ledger, production"])]
Ended = Literal["pending", "in_flight", "delivered", "failed"]


class NewSubscription(schemas.Body):
    """What to hear, and where."""

    url: Url
    types: Types
    accounts: Accounts = None
    description: Description = None


class SubscriptionChange(schemas.Body):
    """The members to change; the others stay."""

    url: Annotated[str | None, _URL] = None
    types: Annotated[list[Annotated[str, Field(max_length=100)]] | None, _TYPES] = None
    accounts: Accounts = None
    description: Description = None
    enabled: bool | None = Field(
        None,
        strict=True,
        description="Enabled again, it goes on where it stopped and tries at once what had failed.",
        examples=[True],
    )

    @model_validator(mode="after")
    def _not_null(self) -> Self:
        for name in ("url", "types", "enabled"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class Rotation(schemas.Body):
    """How long the old secret signs too."""

    overlap_s: int = Field(
        subscriptions.OVERLAP_S, ge=0, le=30 * 86_400, strict=True, description="Seconds.", examples=[86_400]
    )


class NoticeReplay(schemas.Body):
    """From when on to send again."""

    since: AwareDatetime = Field(description="Lines written then or later.", examples=["2026-11-24T10:00:00Z"])


class Subscription(BaseModel):
    """Who hears what, and how it goes."""

    id: str = Field(description="The subscription.", examples=["sub_0f3a2b1c4d5e6f708192a3b4"])
    url: Url
    description: Description
    types: Types
    accounts: Accounts
    enabled: bool = Field(description="Whether notices are delivered.", examples=[True])
    disabled_reason: str | None = Field(description="Why not.", examples=["The receiver answered 410 Gone."])
    failing_since: schemas.Time | None = Field(
        description="Since when nothing got through; null when it does.", examples=["2026-11-24T10:00:00Z"]
    )
    old_secret_until: schemas.Time | None = Field(
        description="Until when the secret before signs too.", examples=["2026-11-24T10:00:00Z"]
    )
    created: schemas.Time


class SubscriptionMade(Subscription):
    """A new subscription with its secret."""

    secret: str = Field(
        description="Signs every notice; shown once.", examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    )


class SecretMade(BaseModel):
    """A new secret."""

    id: str = Field(description="The subscription.", examples=["sub_0f3a2b1c4d5e6f708192a3b4"])
    secret: str = Field(
        description="Signs every notice; shown once.", examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    )
    old_secret_until: schemas.Time = Field(description="Until when notices carry the old secret's signature too.")


class Delivery(BaseModel):
    """One notice, and how its delivery stands."""

    id: str = Field(
        description="The `webhook-id`; the same in every attempt.", examples=["msg_0f3a2b1c4d5e6f708192a3b4c5d6e7f8"]
    )
    type: str = Field(description="Type of the notice.", examples=["account.state_changed"])
    account: schemas.AccountId
    status: Ended = Field(description="`failed`: every attempt did.", examples=["delivered"])
    attempts: int = Field(description="How often it was sent.", examples=[1])
    response_code: int | None = Field(description="The receiver's last HTTP status.", examples=[200])
    error: str | None = Field(description="Why the last attempt failed.", examples=["answered 500"])
    due_at: schemas.Time | None = Field(
        description="When it is sent next; null when it is over.", examples=["2026-11-24T10:00:00Z"]
    )
    delivered_at: schemas.Time | None = Field(
        description="When the receiver took it.", examples=["2026-11-24T10:00:00Z"]
    )
    created: schemas.Time


class DeliveryDetail(Delivery):
    """One notice with what is sent."""

    body: str = Field(description="The signed body.", examples=['{"type":"account.state_changed"}'])


class Notice(BaseModel):
    """What is posted to a subscriber."""

    type: str = Field(
        description=f"One of {', '.join(f'`{name}`' for name in (*TYPES, TEST))}.", examples=["account.state_changed"]
    )
    timestamp: schemas.Time
    data: schemas.JournalLine = Field(
        description="The journal line. Of one account, `seq` tells the order; notices may arrive in another. A"
        " `subscription.test` has `{subscription}` instead."
    )


@outward.post("notice", status_code=204)
async def notice(
    body: Notice,
    webhook_id: Annotated[
        str,
        Header(
            description="Names the notice; the same in every attempt and replay: drop what you had.",
            examples=["msg_0f3a2b1c4d5e6f708192a3b4c5d6e7f8"],
        ),
    ],
    webhook_timestamp: Annotated[
        int, Header(description="Unix seconds of the attempt; refuse old ones.", examples=[1_790_000_000])
    ],
    webhook_signature: Annotated[
        str,
        Header(
            description="`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, space separated while a secret is"
            " exchanged. Verify with any Standard Webhooks library.",
            examples=["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="],
        ),
    ],
) -> None:
    """A notice to a subscriber, per the Standard Webhooks specification.

    Any 2xx within 10 s takes it. Else it comes again after about 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h
    (`Retry-After` is heeded), and then counts as failed. 410 disables the subscription at once; a day in which nothing
    gets through does too. Redirects are not followed.
    """


@router.post("", status_code=201, response_model=SubscriptionMade, responses=Wrong)
async def create_subscription(services: Svc, write: AdminWriting, body: NewSubscription) -> Response:
    """Subscribe to notices from now on. The answer holds the secret, once."""
    await receivers.check(body.url, subscriptions.allowed(services.settings))
    return await write.do(lambda conn: subscriptions.create(conn, **body.model_dump()), body, status=201)


@router.get("", response_model=schemas.Listed[Subscription], responses=documented(400, 401, 403))
async def list_subscriptions(services: Svc, _who: Operator, asked: Annotated[Page, Depends(page(str))]) -> Response:
    """Subscriptions by id."""
    async with reading(services) as conn:
        rows = await stored.every(conn, limit=asked.fetched, after=asked.after[0] if asked.after else "")
    return asked.of(rows, ["id"], subscriptions.shown)


@router.get("/{subscription_id}", response_model=Subscription, responses=documented(401, 403, 404))
async def read_subscription(services: Svc, _who: Operator, subscription_id: SubscriptionPath) -> Response:
    """One subscription."""
    async with reading(services) as conn:
        return Json(await subscriptions.find(conn, subscription_id))


@router.patch("/{subscription_id}", response_model=Subscription, responses=Wrong)
async def change_subscription(
    services: Svc, write: AdminWriting, subscription_id: SubscriptionPath, body: SubscriptionChange
) -> Response:
    """Change a subscription, disable it or enable it again."""
    if body.url is not None:
        await receivers.check(body.url, subscriptions.allowed(services.settings))
    given = body.model_dump(exclude_unset=True)
    return await write.do(lambda conn: subscriptions.change(conn, subscription_id, given), body, status=200)


@router.delete("/{subscription_id}", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def delete_subscription(write: AdminWriting, subscription_id: SubscriptionPath, why: Why) -> Response:
    """Delete a subscription with its deliveries."""
    return await write.do(lambda conn: subscriptions.remove(conn, subscription_id), why, reason=words(why))


@router.post("/{subscription_id}/secrets", status_code=201, response_model=SecretMade, responses=Wrong)
async def rotate_secret(write: AdminWriting, subscription_id: SubscriptionPath, body: Rotation) -> Response:
    """Make a new secret. For a while notices are signed with both, so the receiver can change over."""
    return await write.do(
        lambda conn: subscriptions.rotate(conn, subscription_id, overlap_s=body.overlap_s), body, status=201
    )


@router.post("/{subscription_id}/tests", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def test_subscription(services: Svc, write: AdminWriting, subscription_id: SubscriptionPath) -> Response:
    """Send a `subscription.test` notice, in the way that real ones go."""
    platform = services.platform_account
    return await write.do(lambda conn: subscriptions.test(conn, subscription_id, platform=platform))


@router.post("/{subscription_id}/replays", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def replay_notices(write: AdminWriting, subscription_id: SubscriptionPath, body: NoticeReplay) -> Response:
    """Send all notices since a time once more, under the ids they had; also those of before it was subscribed."""
    return await write.do(lambda conn: subscriptions.replay(conn, subscription_id, body.since), body)


@router.get(
    "/{subscription_id}/deliveries",
    response_model=schemas.Listed[Delivery],
    responses=documented(400, 401, 403, 404, 422),
)
async def list_deliveries(
    services: Svc,
    _who: Operator,
    subscription_id: SubscriptionPath,
    asked: Annotated[Page, Depends(page(datetime, str))],
    status: Annotated[
        Literal["pending", "in_flight", "delivered", "failed", "failing"] | None,
        Query(
            description="Only in this status; `failing`: the last attempt failed, and another follows.",
            examples=["failing"],
        ),
    ] = None,
) -> Response:
    """Notices of a subscription, newest first; kept for 30 days."""
    async with reading(services) as conn:
        await subscriptions.find(conn, subscription_id)
        rows = await notices.newest(conn, subscription_id, limit=asked.fetched, after=asked.after, status=status)
    return asked.of(rows, ["created_at", "notice_id"], subscriptions.shown_delivery)


@router.get(
    "/{subscription_id}/deliveries/{delivery_id}", response_model=DeliveryDetail, responses=documented(401, 403, 404)
)
async def read_delivery(
    services: Svc, _who: Operator, subscription_id: SubscriptionPath, delivery_id: DeliveryPath
) -> Response:
    """One notice with its body."""
    async with reading(services) as conn:
        row = await notices.find(conn, subscription_id, delivery_id)
    if row is None:
        raise NotFound(f"The subscription {subscription_id} has no delivery {delivery_id}.")
    body: dict[str, Any] = {**subscriptions.shown_delivery(row), "body": row["body"]}
    return Json(body)


@router.post(
    "/{subscription_id}/deliveries/{delivery_id}/retries",
    status_code=202,
    response_model=schemas.Accepted,
    responses=Wrong,
)
async def retry_delivery(write: AdminWriting, subscription_id: SubscriptionPath, delivery_id: DeliveryPath) -> Response:
    """Send one notice once more, now."""
    return await write.do(lambda conn: subscriptions.again(conn, subscription_id, delivery_id))
