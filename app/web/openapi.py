"""The API's description: what FastAPI derives from the code, completed with problems, health and Stripe's door.

The same document is served at ``/openapi.json`` and committed as ``openapi.yaml``.
"""

from typing import Any

import yaml
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.web.problems import MEDIA_TYPE, Problem, documented

TAGS = {
    "enrollments": "Ask for accounts.",
    "accounts": "Where every account stands.",
    "actions": "Ask something of an account.",
    "controls": "Stop and release automation.",
    "streams": "Journal lines as they are written.",
    "events": "The log: what happened, why, and what came of it.",
    "commands": "The Stripe writes that we intended.",
    "authorizations": "Real-time decisions.",
    "replays": "Bulk replays.",
    "platform": "Where the programme's money is.",
    "health": "For load balancers and Prometheus. No key needed.",
    "stripe": "For Stripe alone: signed with `Stripe-Signature`. No key needed.",
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, made once per application."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        )
        schemas = document["components"]["schemas"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs"))
        schemas["Problem"] = problem
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        _only_problems(document)
        document["paths"].update(_outside_the_api())
        document["webhooks"] = {"stripe": _stripe_door("stripe_event", authorizations=False)}
        app.openapi_schema = document
    return app.openapi_schema


def text(app: FastAPI) -> str:
    """The document as ``openapi.yaml`` holds it."""
    return yaml.safe_dump(app.openapi(), sort_keys=False, allow_unicode=True, width=120)


def _only_problems(document: dict[str, Any]) -> None:
    """FastAPI's own validation answer is a problem here, as every error is."""
    invalid = documented(422)[422]
    for path in document["paths"].values():
        for operation in path.values():
            if "422" in operation["responses"]:
                operation["responses"]["422"] = invalid


def _outside_the_api() -> dict[str, Any]:
    return {
        "/livez": {"get": _health("livez", "The process answers.", {200: _json("It lives.")})},
        "/readyz": {
            "get": _health(
                "readyz",
                "Whether database, schema and a worker are there.",
                {200: _json("Ready."), 503: _json("Not ready; `checks` says why.")},
            )
        },
        "/metrics": {
            "get": _health(
                "metrics",
                "Prometheus metrics of this process.",
                {200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
            )
        },
        "/webhooks/stripe": _stripe_door("receive_event", authorizations=False),
        "/webhooks/stripe/authorizations": _stripe_door("receive_authorization", authorizations=True),
    }


def _health(name: str, text: str, responses: dict[int, Any]) -> dict[str, Any]:
    answers = {str(status): answer for status, answer in responses.items()}
    return {"tags": ["health"], "summary": name, "operationId": name, "description": text, "responses": answers}


def _json(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"type": "object"}}}}


def _stripe_door(name: str, *, authorizations: bool) -> dict[str, Any]:
    text = (
        "Stripe's real-time authorization request; the answer is the decision."
        if authorizations
        else "Stripe's events, snapshot and thin alike. 200 once stored; a duplicate too."
    )
    refusals = {400: "Bad or missing signature, wrong time, or a body that is no event.", 413: "Over 1 MiB."}
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        "post": {
            "tags": ["stripe"],
            "summary": name.replace("_", " ").capitalize(),
            "operationId": name,
            "description": text,
            "security": [],
            "parameters": [
                {
                    "name": "Stripe-Signature",
                    "in": "header",
                    "required": True,
                    "description": "`t=<unix seconds>,v1=<hex HMAC-SHA256 of t.body>`.",
                    "schema": {"type": "string"},
                }
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object", "description": "A Stripe event."}}},
            },
            "responses": {
                "200": _json("Decided." if authorizations else "Stored."),
                **{str(k): {"description": v, "content": {MEDIA_TYPE: problem}} for k, v in refusals.items()},
                "503": {
                    "description": "It cannot be stored now.",
                    "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
                    "content": {MEDIA_TYPE: problem},
                },
            },
        }
    }
