"""Enrollments: ask for an account; the programme does the rest."""

import datetime as dt
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AfterValidator, Field, StrictInt, field_validator, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from app.errors import NotFound
from app.ops import requests
from app.store import views
from app.web import schemas, shown
from app.web.deps import IfNoneMatch, Page, Reader, Svc, Writing, page, polled, reading
from app.web.problems import UNCHANGED, documented

router = APIRouter(tags=["enrollments"])

Country = Annotated[
    str,
    Field(pattern=r"^[A-Za-z]{2}$", description="Two letters, either case.", examples=["MX"]),
    AfterValidator(str.upper),
]
Email = Annotated[
    str,
    Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254, description="E-mail.", examples=["ana@example.com"]),
]


class Dob(schemas.Body):
    """Date of birth."""

    day: StrictInt = Field(ge=1, le=31, description="Day of the month.", examples=[1])
    month: StrictInt = Field(ge=1, le=12, description="Month.", examples=[2])
    year: StrictInt = Field(ge=1900, le=2100, description="Year.", examples=[1990])

    @model_validator(mode="after")
    def _a_day(self) -> Self:
        try:
            dt.date(self.year, self.month, self.day)
        except ValueError:
            raise PydanticCustomError("dob", "The month has no such day") from None
        return self


class Individual(schemas.Body):
    """The person who holds the card."""

    first_name: str = Field(min_length=1, max_length=100, description="Given name.", examples=["Ana"])
    last_name: str = Field(min_length=1, max_length=100, description="Family name.", examples=["Demo"])
    dob: Dob | None = Field(None, description="Date of birth.")


class Address(schemas.Body):
    """Where the cardholder lives."""

    line1: str = Field(min_length=1, max_length=200, description="Street and number.", examples=["Calle Uno 1"])
    line2: str | None = Field(None, max_length=200, description="More of it.", examples=["Piso 2"])
    city: str = Field(min_length=1, max_length=100, description="City.", examples=["Ciudad de Mexico"])
    state: str | None = Field(None, max_length=100, description="State or province.", examples=["CDMX"])
    postal_code: str = Field(min_length=1, max_length=20, description="Postal code.", examples=["01000"])
    country: Country


class Billing(schemas.Body):
    """Billing details."""

    address: Address = Field(description="Where the holder is billed.")


class Terms(schemas.Body):
    """When and from where the holder accepted the card's terms."""

    date: StrictInt = Field(gt=0, description="Unix time in seconds.", examples=[1_790_000_000])
    ip: str = Field(min_length=3, max_length=45, description="IPv4 or IPv6 address.", examples=["203.0.113.7"])

    @field_validator("ip")
    @classmethod
    def _an_address(cls, value: str) -> str:
        try:
            ip_address(value)
        except ValueError:
            raise PydanticCustomError("ip", "Must be an IPv4 or IPv6 address") from None
        return value


class Company(schemas.Body):
    """The company that holds the card."""

    tax_id: str = Field(min_length=3, max_length=40, description="Its tax number.", examples=["TDE010101AB1"])


class Cardholder(schemas.Body):
    """The cardholder that the programme creates."""

    type: Literal["individual", "company"] = Field("individual", description="Kind of holder.", examples=["individual"])
    name: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"\S",
        description="Name on the card. Stripe takes 24 characters: a longer one is shortened to whole words.",
        examples=["Ana Demo"],
    )
    email: Email | None = Field(None, description="E-mail.", examples=["ana@example.com"])
    phone_number: str | None = Field(None, max_length=30, description="E.164.", examples=["+525555555555"])
    individual: Individual | None = Field(None, description="Needed for an individual.")
    company: Company | None = Field(None, description="Of a company.", examples=[None])
    billing: Billing = Field(description="Where bills go.")
    user_terms_acceptance: Terms | None = Field(
        None, description="Sent to Stripe as the acceptance of the lead's terms."
    )


class EnrollmentRequest(schemas.Body):
    """A new account. The same `reference` twice is one enrollment."""

    reference: str = Field(
        min_length=1, max_length=200, description="Your own name for it; kept in clear.", examples=["customer-42"]
    )
    contact_email: Email
    display_name: str = Field(min_length=1, max_length=200, description="Shown at Stripe.", examples=["Ana Demo"])
    country: Country
    entity_type: Literal["individual", "company", "non_profit", "government_entity"] = Field(
        description="What kind of holder.", examples=["individual"]
    )
    programme: str | None = Field(None, max_length=100, description="The programme's name.", examples=["default"])
    cardholder: Cardholder = Field(description="Who will hold the card.")


@router.post(
    "/enrollments",
    status_code=202,
    response_model=schemas.EnrollmentAccepted,
    responses=documented(400, 401, 403, 409, 422),
)
async def enroll(services: Svc, write: Writing, body: EnrollmentRequest) -> Response:
    """Ask for an account; poll `href` for its id, then the account for its state."""
    asked: dict[str, Any] = body.model_dump(mode="json", exclude_none=True)
    return await write.do(
        lambda conn: requests.enroll(
            conn,
            platform=services.platform_account,
            programme=services.programme,
            request=asked,
            at_ms=services.clock(),
        ),
        body,
    )


@router.get("/enrollments", response_model=schemas.Listed[schemas.Enrollment], responses=documented(400, 401, 403, 422))
async def list_enrollments(
    services: Svc,
    _who: Reader,
    asked: Annotated[Page, Depends(page(str))],
    state: Annotated[
        Literal["requested", "created", "rejected"] | None, Query(description="Where it stands.", examples=["created"])
    ] = None,
) -> Response:
    """Enrollments by id."""
    async with reading(services) as conn:
        rows = await views.enrollments(
            conn, services.platform_account, limit=asked.fetched, after=asked.after, state=state
        )
    return asked.of(rows, ["event_id"], shown.enrollment)


@router.get(
    "/enrollments/{enrollment_id}", response_model=schemas.Enrollment, responses=UNCHANGED | documented(401, 403, 404)
)
async def read_enrollment(
    services: Svc,
    _who: Reader,
    enrollment_id: Annotated[str, Path(description="The enrollment.", examples=["enr_5f1d7a84db00d2fce00b31a7"])],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One enrollment: `account` is set once Stripe made it."""
    async with reading(services) as conn:
        row = await views.enrollment(conn, services.platform_account, enrollment_id)
    if row is None:
        raise NotFound(f"There is no enrollment {enrollment_id}.")
    return polled(shown.enrollment(row), if_none_match)
