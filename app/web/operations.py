"""Completes what FastAPI derives of an operation: every error it may answer with the stable codes, the headers, and an
example of every body.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from app.web.codes import CODES, Code, uri
from app.web.examples import example_of
from app.web.problems import MEDIA_TYPE

Operation = dict[str, Any]

RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer", "examples": [1]}}
SHARED = (401, 403, 404, 408, 413, 415, 429, 503)
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "The scheme.", "schema": {"type": "string", "examples": ["Bearer"]}}},
    429: {
        "Retry-After": RETRY_AFTER,
        "RateLimit-Policy": {
            "description": "Requests (`q`) in a window of `w` seconds, for each key.",
            "schema": {"type": "string", "examples": ['"key";q=500;w=1']},
        },
    },
    503: {"Retry-After": RETRY_AFTER},
}
_REPLAYED = {
    "description": "`true` when this is the answer of an earlier request with the same `Idempotency-Key`.",
    "schema": {"type": "string", "examples": ["true"]},
}
_LOCATION = {"description": "What to watch; the same as `href`.", "schema": {"type": "string", "examples": ["/v1/..."]}}
_ETAG = {"description": "For `If-None-Match`; opaque.", "schema": {"type": "string", "examples": ['"17"']}}
_OF_FIELDS = frozenset({"invalid", "bad_since", "country_not_in_programme", "unknown_programme"})


def complete(operation: Operation, schemas: Mapping[str, Any]) -> None:
    """Complete one operation of the API in place."""
    responses = operation["responses"]
    marks = _marks(operation)
    codes = [code for code in CODES if marks.intersection(code.at)]
    asked = {int(status) for status in responses if status.isdigit() and int(status) >= 400}
    wanted = (asked | {401, 403, 429, 503} | ({408, 413, 415} if "body" in marks else set())) - {500}
    if operation.get("parameters") or "body" in marks:
        wanted |= {400, 422}
    for status in sorted(wanted):
        told = [code for code in codes if code.status == status]
        as_everywhere = status in SHARED and told == _everywhere(status)
        shared = {"$ref": f"#/components/responses/{_name(status)}"}
        responses[str(status)] = shared if as_everywhere else problem(status, told)
    for status, response in responses.items():
        if status.startswith("2"):
            _succeed(operation, response, marks, watched=_watched(response, schemas))
    for body in _bodies(operation):
        for content in body.values():
            if "example" not in content and "examples" not in content and content.get("schema"):
                content["example"] = example_of(content["schema"], schemas)
    operation["responses"] = dict(sorted(responses.items()))


def shared_problems() -> dict[str, Any]:
    """The answers that mean the same wherever they come, by name, for ``components.responses``."""
    return {_name(status): problem(status, _everywhere(status)) for status in SHARED}


def _everywhere(status: int) -> list[Code]:
    return [code for code in CODES if code.status == status and {"any", "body"}.intersection(code.at)]


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def problem(status: int, codes: Iterable[Code]) -> dict[str, Any]:
    """The answer of an operation that failed with one of these codes."""
    told = list(codes)
    said = "; ".join(f"`{code.code}`: {code.meaning}" for code in told)
    title = HTTPStatus(status).phrase
    answer: dict[str, Any] = {
        "description": f"{title}. {said}",
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {code.code: {"summary": code.remedy, "value": _example(code, title)} for code in told},
            }
        },
    }
    if status in _HEADERS:
        answer["headers"] = _HEADERS[status]
    return answer


def _example(code: Code, title: str) -> dict[str, Any]:
    shown = {
        "type": uri(code.code),
        "title": title,
        "status": code.status,
        "code": code.code,
        "detail": code.meaning.replace("`", ""),
    }
    return shown | ({"errors": [{"field": "country", "message": code.meaning}]} if code.code in _OF_FIELDS else {})


def _marks(operation: Operation) -> set[str]:
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    marks = {"any", *operation.get("tags", [])}
    marks |= {"write"} if "Idempotency-Key" in names else set()
    marks |= {"list"} if "cursor" in names else set()
    return marks | ({"body"} if "requestBody" in operation else set())


def _watched(response: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    """Whether an answer names what to watch."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return "href" in schemas.get(schema.get("$ref", "").rpartition("/")[2], {}).get("properties", {})


def _succeed(operation: Operation, response: dict[str, Any], marks: set[str], *, watched: bool) -> None:
    if response["description"] == "Successful Response":
        response["description"] = "Taken; watch `href`." if watched else "Done." if "write" in marks else "Found."
    headers = response.setdefault("headers", {})
    if "write" in marks:
        headers["Idempotent-Replayed"] = _REPLAYED
        if watched:
            headers["Location"] = _LOCATION
    if "304" in operation["responses"]:
        headers["ETag"] = _ETAG
    if not headers:
        del response["headers"]


def _bodies(operation: Operation) -> list[dict[str, Any]]:
    answers = [
        r["content"] for status, r in operation["responses"].items() if "content" in r and status.startswith("2")
    ]
    return [*answers, *([operation["requestBody"]["content"]] if "requestBody" in operation else [])]
