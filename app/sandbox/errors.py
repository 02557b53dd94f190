"""The refusals of the API, in the envelopes of both generations."""

from typing import Any


class ApiError(Exception):
    """An answer that is no success.

    ``kind`` is ``error.type`` (v1 always has one, v2 only for typed errors). ``stored`` is false for what v1 does not
    keep under an idempotency key: refused parameters and conflicts with a running request.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        kind: str | None = None,
        param: str | None = None,
        stored: bool = True,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.kind, self.param, self.stored, self.headers = kind, param, stored, headers or {}

    def body(self, api: str) -> dict[str, Any]:
        """The JSON body for ``v1`` or ``v2``."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if api == "v1":
            error["type"] = self.kind or ("api_error" if self.status >= 500 else "invalid_request_error")
            error["param"] = self.param
        elif self.kind:
            error["type"] = self.kind
        return {"error": error}


def invalid(message: str, *, code: str = "parameter_invalid", param: str | None = None) -> ApiError:
    """A parameter that cannot be: 400, never stored."""
    return ApiError(400, code, message, param=param, stored=False)


def refused(code: str, message: str, *, kind: str | None = None, status: int = 400) -> ApiError:
    """A request that is well formed but that the state of the world does not allow."""
    return ApiError(status, code, message, kind=kind)


def not_found(what: str, ident: str, api: str) -> ApiError:
    """404 in the words of the API asked."""
    code = "resource_missing" if api == "v1" else "not_found"
    return ApiError(404, code, f"No such {what}: '{ident}'", param="id" if api == "v1" else None)
