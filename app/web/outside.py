"""The description of what is not the API: health, and the two doors that Stripe posts to."""

from typing import Any

from app.web.codes import CODES, Code
from app.web.operations import problem

_EVENT_EXAMPLE = {
    "id": "evt_1SMxDemo",
    "object": "event",
    "type": "issuing_card.created",
    "created": 1_790_000_000,
    "livemode": False,
    "account": "acct_1SMxConnDemo",
    "data": {"object": {"id": "ic_1", "object": "issuing.card", "status": "active"}},
}
_REQUEST_EXAMPLE = {
    **_EVENT_EXAMPLE,
    "type": "issuing_authorization.request",
    "data": {"object": {"id": "iauth_1", "object": "issuing.authorization", "pending_request": {"amount": 500}}},
}


def _field(kind: str, text: str, example: object) -> dict[str, Any]:
    return {"type": kind, "description": text, "examples": [example]}


SCHEMAS: dict[str, Any] = {
    "StripeEvent": {
        "type": "object",
        "title": "StripeEvent",
        "description": "An event as Stripe sends it: snapshot (`event`) or thin (`v2.core.event`).",
        "required": ["id", "object", "type"],
        "properties": {
            "id": _field("string", "Stripe's id; a second delivery of it has no second effect.", "evt_1SMxDemo"),
            "object": _field("string", "`event` or `v2.core.event`.", "event"),
            "type": _field("string", "What happened; unknown types are kept.", "issuing_card.created"),
            "created": {
                "type": ["integer", "string"],
                "description": "Unix seconds in a snapshot event, RFC 3339 in a thin one.",
                "examples": [1_790_000_000],
            },
            "livemode": _field("boolean", "Events of the other mode are kept as ignored.", False),
            "account": _field("string", "The connected account of a snapshot event.", "acct_1SMxConnDemo"),
            "context": _field("string", "The account (last segment) of a thin event.", "acct_1SMxConnDemo"),
            "data": {
                "type": "object",
                "description": "`object`: the object of a snapshot event.",
                "examples": [{"object": {"id": "ic_1"}}],
            },
            "related_object": {
                "type": "object",
                "description": "`id`, `type` and `url` of what a thin event is about.",
                "examples": [{"id": "fa_1", "type": "v2.money_management.financial_account", "url": "/v2/..."}],
            },
        },
    },
    "AuthorizationAnswer": {
        "type": "object",
        "title": "AuthorizationAnswer",
        "description": "What we answer to Stripe about a purchase.",
        "required": ["approved"],
        "properties": {
            "approved": _field("boolean", "Whether the purchase may go through.", True),
            "amount": _field("integer", "What part of it, minor units, when only a part may.", 500),
            "metadata": {
                "type": "object",
                "description": "Why, kept beside the authorization at Stripe.",
                "examples": [{"cardrail_reason": "approved"}],
            },
        },
    },
    "Stored": {
        "type": "object",
        "title": "Stored",
        "description": "The event is stored, now or before.",
        "required": ["received"],
        "properties": {"received": _field("boolean", "Always true.", True)},
    },
    "Health": {
        "type": "object",
        "title": "Health",
        "description": "How the process is.",
        "required": ["status"],
        "properties": {
            "status": _field("string", "`ok` or `unavailable`.", "ok"),
            "checks": {
                "type": "object",
                "description": "Each check with `ok` and a sentence (`detail`).",
                "examples": [{"database": {"ok": True, "detail": "answers"}}],
            },
        },
    },
}


def paths() -> dict[str, Any]:
    """Health, metrics and Stripe's doors."""
    metrics = {"schema": {"type": "string", "description": "Prometheus text."}, "example": "# HELP cardrail_..."}
    return {
        "/livez": {"get": _health("livez", "The process answers.", {200: _json("It lives.", "Health")})},
        "/readyz": {
            "get": _health(
                "readyz",
                "Whether database, schema and a worker are there.",
                {200: _json("Ready.", "Health"), 503: _json("Not ready; `checks` says why.", "Health", ready=False)},
            )
        },
        "/metrics": {
            "get": _health(
                "metrics",
                "Prometheus metrics of this process.",
                {200: {"description": "Metrics.", "content": {"text/plain": metrics}}},
            )
        },
        "/webhooks/stripe": door("receive_event", authorizations=False),
        "/webhooks/stripe/authorizations": door("receive_authorization", authorizations=True),
    }


def webhooks() -> dict[str, Any]:
    """What Stripe posts to us, as webhooks: the same doors seen from Stripe's side."""
    return {
        "stripe_event": door("stripe_event", authorizations=False),
        "stripe_authorization": door("stripe_authorization", authorizations=True),
    }


def _health(name: str, text: str, responses: dict[int, Any]) -> dict[str, Any]:
    answers = {str(status): answer for status, answer in responses.items()}
    return {
        "tags": ["health"],
        "summary": name.capitalize(),
        "operationId": name,
        "description": text,
        "security": [],
        "responses": answers,
    }


def _json(text: str, schema: str, *, ready: bool = True) -> dict[str, Any]:
    example: dict[str, Any] = {"status": "ok" if ready else "unavailable"}
    if not ready:
        example["checks"] = {"worker": {"ok": False, "detail": "no worker was ever seen"}}
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    return {"description": text, "content": {"application/json": content}}


def door(name: str, *, authorizations: bool) -> dict[str, Any]:
    """One of Stripe's doors as an OpenAPI path item."""
    text = (
        "Stripe's real-time authorization request; the answer is the decision."
        if authorizations
        else "Stripe's events, snapshot and thin alike. 200 once stored; a duplicate too. Unknown types are kept."
    )
    schema = "AuthorizationAnswer" if authorizations else "Stored"
    done = {
        "description": "Decided." if authorizations else "Stored, or decided where the event asks for a decision.",
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{schema}"},
                "example": {"approved": True, "metadata": {"cardrail_reason": "approved"}}
                if authorizations
                else {"received": True},
            }
        },
    }
    refused = {status: _codes(status) for status in (400, 408, 413, 503)}
    return {
        "post": {
            "tags": ["stripe"],
            "summary": name.replace("_", " ").capitalize(),
            "operationId": name,
            "description": text,
            "security": [],
            "parameters": [_SIGNATURE],
            "requestBody": {
                "required": True,
                "description": "The event, exactly as it was signed.",
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/StripeEvent"},
                        "example": _REQUEST_EXAMPLE if authorizations else _EVENT_EXAMPLE,
                    }
                },
            },
            "responses": {"200": done, **{str(status): problem(status, codes) for status, codes in refused.items()}},
        }
    }


def _codes(status: int) -> list[Code]:
    return [code for code in CODES if code.status == status and "door" in code.at]


_SIGNATURE = {
    "name": "Stripe-Signature",
    "in": "header",
    "required": True,
    "description": "`t=<unix seconds>,v1=<hex HMAC-SHA256 of t.body>`; each of our secrets may have made it.",
    "schema": {"type": "string", "examples": ["t=1790000000,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff"]},
}
