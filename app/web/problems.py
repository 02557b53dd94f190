"""Errors as RFC 9457 problems: the one place that turns what went wrong into an HTTP answer.

Every problem has a stable ``code``; a wrong field is named in ``errors: [{field, message}]``. Nothing unexpected leaks:
a defect answers ``internal`` and is logged.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.errors import BadInput, CardrailError, RateLimited, Unavailable
from app.log import get_logger
from app.store import trouble
from app.web.codes import uri

LOG = get_logger(__name__)
MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One field that is wrong."""

    field: str = Field(description="Path of the field in body, query or path.", examples=["amount.value"])
    message: str = Field(description="What is wrong with it.", examples=["Input should be greater than 0"])


class Problem(BaseModel):
    """An RFC 9457 problem. Branch on ``code``; the other texts are for humans."""

    type: str = Field(description="Where the code is explained, on this server.", examples=["/problems#not_found"])
    title: str = Field(description="The HTTP status in words.", examples=["Not Found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    code: str = Field(description="Stable code to branch on.", examples=["not_found"])
    detail: str = Field(description="One sentence for a human.", examples=["There is no account acct_1."])
    errors: list[FieldError] | None = Field(
        None,
        description="The fields that are wrong, when fields are.",
        examples=[[{"field": "amount.value", "message": "Input should be greater than 0"}]],
    )


def answer(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **members: object) -> Response:
    """One problem as a response."""
    body = {
        "type": uri(code),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **members,
    }
    return Response(orjson.dumps(body, default=str), status, headers, MEDIA_TYPE)


def of_error(error: CardrailError) -> Response:
    """The problem of one of our own errors."""
    headers = {}
    if isinstance(error, Unavailable | RateLimited):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, RateLimited):
        headers["RateLimit-Policy"] = f'"key";q={error.per_s};w=1'
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return answer(error.status, error.code, error.message, headers, **error.details)


def _field(location: Sequence[int | str]) -> str:
    parts = [str(part) for part in location]
    return ".".join(parts[1:] if parts and parts[0] in {"body", "query", "path", "header"} else parts) or "body"


_OF_ONE_FIELD = re.compile(r"([a-z_]+): (.+)", re.DOTALL)


def _fault(wrong: Mapping[str, Any]) -> dict[str, str]:
    """Which field, and why. A rule over several fields that blames one begins its sentence with it: ``shipping: ...``."""
    where, said = wrong["loc"], str(wrong["msg"])
    if wrong["type"] == "value_error":
        said = said.removeprefix("Value error, ")
        if (blamed := _OF_ONE_FIELD.fullmatch(said)) is not None:
            where, said = (*where, blamed[1]), blamed[2]
    return {"field": _field(where), "message": said}


async def _own(_request: Request, error: Exception) -> Response:
    assert isinstance(error, CardrailError)
    return of_error(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()
    if any(e["type"] == "json_invalid" for e in wrong):
        return answer(400, "bad_json", "The body is no JSON.")
    errors = [_fault(e) for e in wrong]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:5])
    return answer(422, "invalid", detail, errors=errors)


_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def _allowed(request: Request) -> str | None:
    """The methods of the path, over all its routes; each route by itself knows only its own."""
    paths = request.app.openapi()["paths"]
    fitting = [path for path in paths if re.fullmatch(_PART.sub("[^/]+", path), request.url.path)]
    if not fitting:
        return None
    return ", ".join(method.upper() for method in paths[min(fitting, key=lambda path: path.count("{"))])


_PART = re.compile(r"\{[^}]+\}")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "bad_input" if error.status_code < 500 else "internal")
    detail = "There is no such route." if error.detail == "Not Found" else str(error.detail)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request) or headers.get("Allow", "GET")
        detail = f"This route has no {request.method}, only: {headers['Allow']}."
    return answer(error.status_code, code, detail, headers)


async def _database(_request: Request, error: Exception) -> Response:
    LOG.warning("api.database_unavailable", error=type(error).__name__)
    return answer(503, "unavailable", "The database cannot answer now.", {"Retry-After": "1"})


async def _defect(_request: Request, error: Exception) -> Response:
    LOG.error("api.defect", exc_info=error)
    return answer(500, "internal", "Something is wrong on our side; it has been logged.")


async def _data(request: Request, error: Exception) -> Response:
    """A value that the database cannot hold (a NUL character, a number out of range) is the caller's."""
    if isinstance(error, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
        return answer(400, "bad_input", "A text holds a character that cannot be stored.")
    return await _defect(request, error)


def install(app: FastAPI) -> None:
    """Make every error of ``app`` a problem."""
    app.add_exception_handler(CardrailError, _own)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(asyncpg.DataError, _data)
    for kind in trouble.CANNOT_SERVE:
        app.add_exception_handler(kind, _database)
    app.add_exception_handler(Exception, _defect)


UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing changed since the `ETag` in `If-None-Match`."}
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route that may answer with these problems."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def wrong_fields(faults: Sequence[tuple[str, str]]) -> None:
    """Raise the problem that names these fields, if there are any."""
    if faults:
        errors = [{"field": field, "message": sentence} for field, sentence in faults]
        detail = "; ".join(f"{field}: {sentence}" for field, sentence in faults)
        raise BadInput(detail, code="invalid", status=422, details={"errors": errors})
