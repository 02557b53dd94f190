import asyncio
from typing import Any

import httpx
import pytest

from app.ops.requests import enrollment_id
from app.wiring import Services


def body(**changes: Any) -> dict[str, Any]:
    return {
        "reference": "customer-42",
        "contact_email": "ana@example.com",
        "display_name": "Ana Demo",
        "country": "mx",
        "entity_type": "individual",
        "cardholder": {
            "type": "individual",
            "name": "Ana Demo",
            "email": "ana@example.com",
            "phone_number": "+525555555555",
            "individual": {"first_name": "Ana", "last_name": "Demo", "dob": {"day": 1, "month": 2, "year": 1990}},
            "billing": {
                "address": {
                    "line1": "Calle Uno 1",
                    "city": "Mexico",
                    "state": "CDMX",
                    "postal_code": "01000",
                    "country": "MX",
                }
            },
            "user_terms_acceptance": {"date": 1_790_000_000, "ip": "203.0.113.7"},
        },
        **changes,
    }


async def test_an_enrollment_is_taken_and_can_be_watched(api: httpx.AsyncClient, services: Services) -> None:
    answer = await api.post("/v1/enrollments", json=body())
    made = enrollment_id("customer-42")
    assert answer.status_code == 202
    assert answer.json() == {"id": made, "state": "requested", "account": None, "href": f"/v1/enrollments/{made}"}
    seen = (await api.get(answer.json()["href"])).json()
    assert (seen["reference"], seen["state"], seen["account"], seen["error"]) == (
        "customer-42",
        "requested",
        None,
        None,
    )
    row = await services.pool.fetchrow("SELECT account_id, source, type, status FROM events WHERE event_id = $1", made)
    assert tuple(row) == ("acct_platform", "request", "enrollment.requested", "pending")


async def test_the_same_reference_twice_is_one_enrollment(api: httpx.AsyncClient, services: Services) -> None:
    first, second = await asyncio.gather(*(api.post("/v1/enrollments", json=body()) for _ in range(2)))
    assert first.json() == second.json()
    assert await services.pool.fetchval("SELECT count(*) FROM events") == 1
    assert len((await api.get("/v1/enrollments")).json()["data"]) == 1


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"country": "FR"}, "country_not_in_programme", "country"),
        ({"programme": "other"}, "unknown_programme", "programme"),
        ({"country": "MEX"}, "invalid", "country"),
        ({"contact_email": "nobody"}, "invalid", "contact_email"),
        ({"reference": ""}, "invalid", "reference"),
        ({"surprise": 1}, "invalid", "surprise"),
        ({"cardholder": {"name": "x"}}, "invalid", "cardholder.billing"),
        (
            {"cardholder": {"name": "x", "individual": {"dob": {"day": 31, "month": 11, "year": 1990}}}},
            "invalid",
            "cardholder.individual.dob",
        ),
        (
            {"cardholder": {"name": "x", "user_terms_acceptance": {"date": 1_790_000_000, "ip": "999.1.1.1"}}},
            "invalid",
            "cardholder.user_terms_acceptance.ip",
        ),
    ],
)
async def test_what_cannot_be_meant_names_its_field(
    api: httpx.AsyncClient, change: dict[str, Any], code: str, field: str
) -> None:
    answer = await api.post("/v1/enrollments", json=body(**change))
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in [error["field"] for error in answer.json()["errors"]]


async def test_an_idempotency_key_gives_the_same_answer_once(api: httpx.AsyncClient, services: Services) -> None:
    headers = {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(api.post("/v1/enrollments", json=body(), headers=headers) for _ in range(4)))
    assert {a.status_code for a in answers} == {202}
    assert len({a.text for a in answers}) == 1
    assert sum("idempotent-replayed" in a.headers for a in answers) == 3
    assert await services.pool.fetchval("SELECT count(*) FROM operator_actions") == 1
    other = await api.post("/v1/enrollments", json=body(reference="other"), headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


async def test_an_enrollment_shows_its_account_and_state_once_applied(
    api: httpx.AsyncClient, services: Services
) -> None:
    made = (await api.post("/v1/enrollments", json=body())).json()["id"]
    await services.pool.execute("UPDATE events SET status = 'applied'")
    await services.pool.execute(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
        " VALUES ('acct_platform', $1, 'enrollment', 'created', $2, now())",
        made,
        {"reference": "customer-42", "account": "acct_1"},
    )
    seen = (await api.get(f"/v1/enrollments/{made}")).json()
    assert (seen["state"], seen["account"], seen["reference"]) == ("created", "acct_1", "customer-42")
    again = (await api.post("/v1/enrollments", json=body())).json()
    assert (again["state"], again["account"]) == ("created", "acct_1")


async def test_an_unknown_enrollment_is_a_404_problem(api: httpx.AsyncClient) -> None:
    answer = await api.get("/v1/enrollments/enr_nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
