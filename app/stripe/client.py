"""The client: the only place that speaks to Stripe's API. Calls and readings are values, never exceptions.

Built on the SDK's raw requests, so transport, encoding and headers are Stripe's own. It never retries by itself: writes
are the outbox's duty, readings come again with their event. A concurrency and a rate limit keep below Stripe's.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
import stripe

from app.stripe.body import ANYTHING, decoded
from app.stripe.fields import id_of, path_of
from app.stripe.outcome import Outcome, Rejected, Settled, TryAgain, Unknown, Waiting, classify
from app.stripe.requests import Request

CONCURRENCY_MAX = 16
READINGS_MAX = 12
"""Of those, so many may be readings: a write never waits behind readings alone."""
TIMEOUT_S = 15.0
PAGE_SIZE = 100
SLACK = timedelta(minutes=5)
"""How far Stripe's clock and ours may differ when a list is bounded in time."""

CREATED_FILTER = {
    "/v1/issuing/cardholders": "created[gte]",
    "/v1/issuing/cards": "created[gte]",
    "/v1/issuing/disputes": "created[gte]",
    "/v2/money_management/outbound_payments": "created_gte",
    "/v2/money_management/outbound_transfers": "created_gte",
    "/v2/money_management/financial_accounts": None,
    "/v2/core/accounts": None,
}
"""The collections whose rows carry our metadata, each with its name for "created since", where it has one."""

NAMELESS = frozenset({"/v2/core/account_links"})
"""What answers with an object that has no id."""

FINANCIAL_ACCOUNTS = "/v2/money_management/financial_accounts"
"""Opened in the account's own context, but a step of the platform's that no holder asked for."""

stripe.enable_telemetry = False
logging.getLogger("stripe").setLevel(logging.WARNING)  # at DEBUG the SDK logs bodies


class Reading(msgspec.Struct, frozen=True):
    """The live object."""

    object: dict[str, Any]


class Missing(msgspec.Struct, frozen=True):
    """There is no such object in this context, or this key may not read it."""

    status: int
    code: str


class Pace:
    """A token bucket: at most ``per_s`` calls a second, short bursts included."""

    def __init__(self, per_s: float) -> None:
        self._alone = self._gap = 1 / per_s
        self._next = 0.0

    def among(self, number: int) -> None:
        """So many processes spend these calls together."""
        self._gap = self._alone * max(number, 1)

    async def turn(self) -> None:
        """Wait for this call's turn."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._next)
        self._next = start + self._gap
        if start > now:
            await asyncio.sleep(start - now)


class Stripe:
    """Stripe's API for one platform key."""

    def __init__(self, api_key: str, api_base: str, version: str, *, rate_per_s: float = 25) -> None:
        self._version = version
        self._http = stripe.AIOHTTPClient(timeout=TIMEOUT_S)
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base},
            http_client=self._http,
            stripe_version=version,
            max_network_retries=0,
        )
        self._limit = asyncio.Semaphore(CONCURRENCY_MAX)
        self._readings = asyncio.Semaphore(READINGS_MAX)
        self._pace = Pace(rate_per_s)
        self._dated: tuple[str, float] | None = None

    def share(self, number: int) -> None:
        """So many workers call Stripe: each keeps to its part of the rate, since Stripe counts them as one."""
        self._pace.among(number)

    @property
    def skew_s(self) -> float | None:
        """How far our clock is ahead of Stripe's by its last answer, in seconds (its header knows whole ones only)."""
        if self._dated is None:
            return None
        said, heard_s = self._dated
        try:
            return heard_s - parsedate_to_datetime(said).timestamp()
        except ValueError:
            return None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped

    async def call(
        self, request: Request, idempotency_key: str, *, allowed: Callable[[], Awaitable[None]] | None = None
    ) -> Outcome:
        """Make one write under its key. ``allowed`` is asked when it is the write's turn, and raises to keep it back."""
        options: dict[str, Any] = {"idempotency_key": idempotency_key}
        outcome = await self._send(request.method, request.path, request.params, request.context, options, allowed)
        if isinstance(outcome, Settled) and outcome.object_id is None and request.path not in NAMELESS:
            return Unknown("unreadable_answer", "The answer was a yes that names no object.")
        return outcome

    async def read(
        self, url: str, *, context: str | None, include: tuple[str, ...] = (), event_id: str | None = None
    ) -> Reading | Missing | TryAgain:
        """Read one object by its path."""
        params: dict[str, Any] = {"include": list(include)} if include else {}
        options: dict[str, Any] = {"headers": {"Stripe-Request-Trigger": f"event={event_id}"}} if event_id else {}
        outcome = await self._send("get", url, params, context, options)
        match outcome:
            case Settled():
                return Reading(outcome.object)
            case TryAgain():
                return outcome
            case Rejected(code=code, parks=parks):
                return Missing(403 if parks else 404, code)
            case Unknown(code=code, message=message, retry_after_s=wait):
                return TryAgain(code, message, wait)
            case Waiting(code=code, message=message):
                return TryAgain(code, message)

    async def list_all(
        self, path: str, params: dict[str, Any], context: str | None, *, page_max: int = 100
    ) -> list[dict[str, Any]]:
        """The rows of a list, at most ``page_max`` pages, in either paging style. Raises TimeoutError if Stripe cannot."""
        rows, _ = await self.pages(path, params, context, page_max)
        return rows

    async def find_made(self, request: Request, command_id: str, since: datetime) -> dict[str, Any] | None:
        """What a command made or changed, if anything: found by the command's id in the metadata.

        None is a firm "not there" (for a v2 list, which lags, as firm as it gets). Raises TimeoutError when Stripe does
        not answer, or when there is more to look through than ``list_all`` would read: then nobody can tell.
        """
        if request.path not in CREATED_FILTER:
            return await self._changed(request, command_id)
        start, name, query = since - SLACK, CREATED_FILTER[request.path], {}
        if name is not None:
            v1 = request.api == "v1"
            query[name] = int(start.timestamp()) if v1 else start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        rows, whole = await self.pages(request.path, query, request.context, 100)
        for row in rows:
            if _command(row) == command_id:
                return row
        if not whole:
            msg = f"{request.path} is too long to tell what {command_id} made"
            raise TimeoutError(msg)
        return None

    async def _changed(self, request: Request, command_id: str) -> dict[str, Any] | None:
        """The object that an update or an action was for, when it shows this command's mark."""
        if "metadata" not in request.params:
            return None
        answer = await self.read(request.path.removesuffix("/submit"), context=request.context)
        if isinstance(answer, TryAgain):
            msg = f"{request.path} could not be read: {answer.code}"
            raise TimeoutError(msg)
        return answer.object if isinstance(answer, Reading) and _command(answer.object) == command_id else None

    async def pages(
        self, path: str, params: dict[str, Any], context: str | None, page_max: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """The rows of at most ``page_max`` pages, and whether they are all there are. Raises TimeoutError like ``list_all``."""
        rows: list[dict[str, Any]] = []
        url, query = path, {"limit": PAGE_SIZE, **params}
        for _ in range(page_max):
            outcome = await self._send("get", url, query, context, {})
            if isinstance(outcome, Rejected) and query.pop("limit", None) is not None:
                outcome = await self._send("get", url, query, context, {})  # the most that v2 allows is stated nowhere
            if not isinstance(outcome, Settled):
                msg = f"{path} could not be listed: {outcome.code}"
                raise TimeoutError(msg)
            page: dict[str, Any] = outcome.object
            data = [row for row in page.get("data") or () if isinstance(row, dict)]
            rows += data
            following = page.get("next_page_url")
            if isinstance(following, str) and following:
                before, url, query = url, path_of(following), {}
                if url == before:
                    return rows, False  # a page that is its own next one
            elif page.get("has_more"):
                last = id_of(data[-1]) if data else None
                if last is None:
                    return rows, False
                query = {**query, "starting_after": last}
            else:
                return rows, True
        return rows, False

    async def _send(
        self,
        method: str,
        path: str,
        params: dict[str, Any],
        context: str | None,
        options: dict[str, Any],
        allowed: Callable[[], Awaitable[None]] | None = None,
    ) -> Outcome:
        api = "v2" if path.startswith("/v2/") else "v1"
        platform = context is None or path == FINANCIAL_ACCOUNTS
        if context is not None:
            options = {**options, "stripe_context" if api == "v2" else "stripe_account": context}
        async with self._readings if method == "get" else contextlib.nullcontext(), self._limit:
            await self._pace.turn()
            if allowed is not None:
                await allowed()
            try:
                answer = await self._client.raw_request_async(
                    method, path, stripe_version=self._version, **options, **params
                )
            except (stripe.APIConnectionError, aiohttp.ClientError, TimeoutError):  # the last two: while the body came
                return Unknown("connection_lost", "The connection to Stripe was lost before an answer came.")
            except stripe.StripeError as error:
                body = _json(error.http_body)
                return classify(error.http_status or 500, body, dict(error.headers or {}), api=api, platform=platform)
        headers = dict(answer.headers)
        if (said := headers.get("Date") or headers.get("date")) is not None:
            self._dated = (said, time.time())
        return classify(answer.code, _json(answer.body), headers, api=api, platform=platform)


def _json(body: str | bytes | None) -> Any:
    """The body as events are read too, so that what is answered can be kept; None when it is no JSON."""
    raw = body.encode(errors="replace") if isinstance(body, str) else body or b""
    try:
        return decoded(raw, ANYTHING)
    except (ValueError, RecursionError):
        return None


def _command(row: dict[str, Any]) -> object:
    metadata = row.get("metadata")
    return metadata.get("cardrail_command") if isinstance(metadata, dict) else None
