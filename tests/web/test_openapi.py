"""The description is complete: nothing in it is left without words or an example, and every example is true."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from fastapi.routing import APIRoute

from app.web.main import ROUTERS, build
from app.web.webhooks import AUTHORIZATIONS_PATH, PATH

DOCUMENT: dict[str, Any] = build().openapi()
ROUTES = {route.name: route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)}
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    pytest.param(operation, id=f"{method} {path}")
    for part in ("paths", "webhooks")
    for path, item in DOCUMENT[part].items()
    for method, operation in item.items()
]
API = [param for param in OPERATIONS if "/v1" in str(param.id)]


def plain(schema: dict[str, Any]) -> bool:
    """Whether a schema says itself what its values look like, instead of naming another that does."""
    if "anyOf" in schema:
        return all(plain(part) for part in schema["anyOf"] if part.get("type") != "null")
    return "$ref" not in schema and plain(schema["items"]) if "items" in schema else "$ref" not in schema


def resolved(response: dict[str, Any]) -> dict[str, Any]:
    name = response.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = DOCUMENT["components"]["responses"][name] if name else response
    return found


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "requestBody" in operation:
        yield from operation["requestBody"]["content"].items()
    for response in operation["responses"].values():
        yield from resolved(response).get("content", {}).items()


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_describes_itself_and_each_of_its_fields(name: str) -> None:
    schema = SCHEMAS[name]
    fields: dict[str, Any] = schema.get("properties", {})
    assert schema.get("description")
    assert [field for field, value in fields.items() if not value.get("description")] == []
    assert [field for field, value in fields.items() if plain(value) and not value.get("examples")] == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_describes_itself_its_parameters_and_its_answers(operation: dict[str, Any]) -> None:
    assert all(operation.get(member) for member in ("summary", "description", "operationId", "tags"))
    for parameter in operation.get("parameters", []):
        assert parameter["description"]
        assert parameter["schema"].get("examples"), parameter["name"]
    for status, response in operation["responses"].items():
        answer = resolved(response)
        assert answer["description"]
        assert [name for name, h in answer.get("headers", {}).items() if not h.get("description")] == []
        if int(status) >= 400 and status != "503":
            assert "`" in answer["description"], "an error names its codes"
    for kind, content in contents(operation):
        assert kind == "text/event-stream" or "example" in content or "examples" in content


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_example_fits_its_schema(operation: dict[str, Any]) -> None:
    for _, content in contents(operation):
        if "schema" not in content:
            continue
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        validator = jsonschema_rs.validator_for(schema, validate_formats=True)
        shown = [content["example"]] if "example" in content else []
        for example in [*shown, *(one["value"] for one in content.get("examples", {}).values())]:
            validator.validate(example)
    for parameter in operation.get("parameters", []):
        for example in parameter["schema"]["examples"]:
            jsonschema_rs.validate(parameter["schema"], example)


@pytest.mark.parametrize("operation", API)
def test_the_api_says_what_stops_a_request(operation: dict[str, Any]) -> None:
    assert {"401", "403", "429", "503"} <= operation["responses"].keys()
    assert operation["security"] == [{"HTTPBearer": []}]
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= operation["responses"].keys()


WRITES = [param for param in API if not str(param.id).startswith("get ")]


@pytest.mark.parametrize("operation", WRITES)
def test_a_write_takes_an_idempotency_key_and_says_how_it_conflicts(operation: dict[str, Any]) -> None:
    assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}
    told = resolved(operation["responses"]["409"])["content"]["application/problem+json"]["examples"]
    assert {"idempotency_in_progress", "idempotency_key_reused"} <= told.keys()


@pytest.mark.parametrize("operation", WRITES)
def test_the_example_of_a_body_is_one_that_the_route_reads(operation: dict[str, Any]) -> None:
    """Rules over several fields stand in the model, not in the schema."""
    route = ROUTES[operation["operationId"]]
    for field in route.dependant.body_params:
        example = operation["requestBody"]["content"]["application/json"]["example"]
        _, wrong = field.validate(example, {}, loc=("body",))
        assert not wrong


@pytest.mark.parametrize("operation", API)
def test_a_list_can_be_paged(operation: dict[str, Any]) -> None:
    schema = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "Listed_" in schema.get("$ref", ""):
        assert {"limit", "cursor"} <= {parameter["name"] for parameter in operation["parameters"]}


def test_no_two_schemas_share_a_name() -> None:
    """FastAPI tells two models of one name apart by their modules; generators of clients do not."""
    assert [name for name in SCHEMAS if "__" in name] == []


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [param.values[0]["operationId"] for param in OPERATIONS if isinstance(param.values[0], dict)]
    assert len(names) == len(set(names))


def test_every_tag_is_described() -> None:
    described = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
    assert {tag for param in OPERATIONS for tag in param.values[0]["tags"]} == described  # type: ignore[index]  # a dict


def test_the_key_and_the_webhooks_are_described() -> None:
    scheme = DOCUMENT["components"]["securitySchemes"]["HTTPBearer"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert {"stripe_event", "stripe_authorization"} <= DOCUMENT["webhooks"].keys()
    assert {PATH, AUTHORIZATIONS_PATH} <= DOCUMENT["paths"].keys()
    assert DOCUMENT["openapi"].startswith("3.1")
