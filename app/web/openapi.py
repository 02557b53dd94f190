"""The API's description: what FastAPI derives from the code, completed with problems, health and Stripe's door.

The same document is served at ``/openapi.json`` and ``/openapi.yaml`` and committed as ``openapi.yaml``.
"""

from typing import Any

import yaml
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.web import outside
from app.web.api import subscriptions
from app.web.examples import example_of
from app.web.operations import complete, shared_problems
from app.web.problems import Problem

TAGS = {
    "enrollments": "Ask for accounts.",
    "accounts": "Where every account stands.",
    "actions": "Ask something of an account.",
    "cards": "Cards of an account.",
    "cardholders": "Cardholders of an account.",
    "tokens": "Cards in the holders' digital wallets.",
    "disputes": "Purchases that the holder contests.",
    "controls": "Stop and release automation.",
    "streams": "Journal lines as they are written.",
    "subscriptions": "Signed notices pushed to services that prefer that.",
    "events": "The log: what happened, why, and what came of it.",
    "commands": "The Stripe writes that we intended.",
    "authorizations": "Real-time decisions.",
    "replays": "Bulk replays.",
    "operations": "Procedures of the engineer on call.",
    "audit": "Who did what and why.",
    "platform": "Where the programme's money is.",
    "health": "For load balancers and Prometheus. No key needed.",
    "stripe": "For Stripe alone: signed with `Stripe-Signature`. No key needed.",
}


try:
    from yaml import CSafeDumper as Dumper  # libyaml's, three times as quick, writes the same
except ImportError:  # PyYAML was built without it
    from yaml import SafeDumper as Dumper  # type: ignore[assignment]  # as good, only slower


class _Plain(Dumper):
    """YAML without anchors: each place says in full what it means."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the dumper's own signature
        return True


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, made once per application."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            webhooks=subscriptions.outward.routes,
            servers=[{"url": "/", "description": "The server that this description came from."}],
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
            tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        )
        schemas = document["components"]["schemas"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs"))
        schemas["Problem"] = problem
        schemas.update(outside.SCHEMAS)
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        document["components"]["responses"] = shared_problems()
        for item in document["paths"].values():
            for operation in item.values():
                complete(operation, schemas)
        document["paths"].update(outside.paths())
        document["webhooks"] = {**_outward(document["webhooks"], schemas), **outside.webhooks()}
        app.openapi_schema = document
    return app.openapi_schema


def _outward(webhooks: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """What we post to others: without the answers that only our own routes give."""
    for operation in (operation for item in webhooks.values() for operation in item.values()):
        operation["responses"] = {"204": {"description": "Taken; so is any other 2xx."}}
        operation["security"] = []
        for content in operation["requestBody"]["content"].values():
            content["example"] = example_of(content["schema"], schemas)
    return webhooks


def text(app: FastAPI) -> str:
    """The document as ``openapi.yaml`` holds it."""
    return yaml.dump(app.openapi(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
