"""Accounts: where each stands, its journal and objects, and the wait for a state."""

import zlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from app.errors import NotFound
from app.ops import linked
from app.store import views
from app.web import schemas, shown
from app.web.deps import IfNoneMatch, Json, Page, Reader, Svc, page, polled, reading, same_tag
from app.web.problems import UNCHANGED, documented
from app.web.waiting import Watch
from app.wiring import Services

router = APIRouter(tags=["accounts"])

WAIT_MAX_S = 120.0

AccountPath = Annotated[str, Path(description="The account.", examples=["acct_1SMxConnDemo"], max_length=255)]
ById = Annotated[Page, Depends(page(str))]
BySeq = Annotated[Page, Depends(page(int))]


@router.get(
    "/accounts", response_model=schemas.Listed[schemas.AccountSummary], responses=documented(400, 401, 403, 422)
)
async def list_accounts(
    services: Svc,
    _who: Reader,
    asked: ById,
    state: Annotated[schemas.State | None, Query(description="Lifecycle state.", examples=["live"])] = None,
    country: Annotated[str | None, Query(description="Country, either case.", max_length=2, examples=["MX"])] = None,
    held: Annotated[bool | None, Query(description="Whether automation is stopped.", examples=[False])] = None,
    stuck: Annotated[
        bool | None,
        Query(description="Past its deadline, something is parked, or its step was refused for good.", examples=[True]),
    ] = None,
) -> Response:
    """Accounts by id. The platform's own account is not among them."""
    programme, now_ms = services.programme, services.clock()
    async with reading(services) as conn:
        rows = await views.accounts(
            conn,
            platform=services.platform_account,
            limit=asked.fetched,
            after=asked.after,
            state=state,
            country=country.upper() if country else None,
            held=held,
            stuck=stuck,
            deadlines=deadlines(services),
        )
    return asked.of(rows, ["account_id"], lambda row: shown.account_summary(row, programme, now_ms))


def deadlines(services: Services) -> dict[str, int]:
    """Seconds after which an account counts as stuck, per stage."""
    limits = services.programme.deadlines
    return {name: int(getattr(limits, name)) for name in limits.__struct_fields__}


@router.get(
    "/accounts/{account_id}",
    response_model=schemas.Account,
    responses=UNCHANGED | documented(401, 403, 404),
)
async def read_account(
    services: Svc,
    _who: Reader,
    request: Request,
    account_id: AccountPath,
    wait_for: Annotated[
        schemas.State | None, Query(description="Wait until this state is reached (or passed).", examples=["live"])
    ] = None,
    timeout_s: Annotated[
        float, Query(ge=0, le=WAIT_MAX_S, description="How long to wait, seconds.", examples=[30])
    ] = 30,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One account. With `wait_for` the answer comes once that state is reached, or as it is after `timeout_s`."""
    if wait_for is not None:
        watch: Watch = request.app.state.watch
        await watch.reached(account_id, wait_for, timeout_s)
    async with reading(services) as conn:
        if if_none_match is not None and wait_for is None:
            standing = await views.account_standing(conn, account_id)
            if standing is not None and same_tag(_etag(standing, services), if_none_match):
                return Response(status_code=304, headers={"ETag": _etag(standing, services)})
        row = await views.account(conn, account_id)
    if row is None:
        raise NotFound(f"There is no account {account_id}.")
    return Json(
        shown.account(row, services.programme, services.clock(), services.platform_account),
        headers={"ETag": _etag(row, services)},
    )


def _etag(row: views.Row, services: Services) -> str:
    """Changes with everything the answer shows: what was applied, a hold, an error, a call, a brake, a passed deadline."""
    limit_s = getattr(services.programme.deadlines, row["state"], None)
    late = limit_s is not None and services.clock() > row["since"].timestamp() * 1000 + limit_s * 1000
    beside = [late, *(row[name] for name in _BESIDE)]
    digest = f".{zlib.crc32(repr(beside).encode()):08x}" if any(beside) else ""
    return f'"{row["version"]}.{row["applied"]}{digest}"'


_BESIDE = [
    "error_id",
    "error_status",
    "error_at",
    "error_due_at",
    "error",
    "call_id",
    "call_status",
    "call_due_at",
    "call_attempts",
    "brakes",
]


@router.get(
    "/accounts/{account_id}/journal",
    response_model=schemas.Listed[schemas.JournalLine],
    responses=documented(400, 401, 403, 404),
)
async def read_journal(services: Svc, _who: Reader, account_id: AccountPath, asked: BySeq) -> Response:
    """The account's life, oldest first."""
    async with reading(services) as conn:
        await must_know(conn, account_id)
        rows = await views.journal(conn, account_id, limit=asked.fetched, after=asked.after)
    return asked.of(rows, ["seq"], shown.journal_line)


@router.get(
    "/accounts/{account_id}/objects",
    response_model=schemas.Listed[schemas.StripeObject],
    responses=documented(400, 401, 403, 404),
)
async def list_objects(
    services: Svc,
    _who: Reader,
    account_id: AccountPath,
    asked: ById,
    kind: Annotated[str | None, Query(description="Kind of object.", examples=["card"])] = None,
    linked_to: Annotated[
        str | None, Query(description="Only what this object names, or what names it.", examples=["ic_1"])
    ] = None,
) -> Response:
    """What we follow of the account at Stripe."""
    async with reading(services) as conn:
        await must_know(conn, account_id)
        rows = await views.objects(
            conn, account_id, limit=asked.fetched, after=asked.after, kind=kind, linked_to=linked_to
        )
    return asked.of(rows, ["object_id"], shown.thing)


@router.get(
    "/accounts/{account_id}/objects/{object_id}",
    response_model=schemas.StripeObject,
    responses=UNCHANGED | documented(401, 403, 404),
)
async def read_object(
    services: Svc,
    who: Reader,
    account_id: AccountPath,
    object_id: Annotated[str, Path(description="The object, or a request of ours.", examples=["ic_1"], max_length=255)],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One object, or a request (`req_...`): once Stripe has answered, `object_id` is what it made.

    `links` are the objects that belong to it, from either side: of an authorization its card, cardholder, token,
    decision, transactions, received debits and credits, disputes. An answered onboarding link also shows its `url` and
    `expires_at`, to keys that may `operate`.
    """
    async with reading(services) as conn:
        row = await views.object_of(conn, account_id, object_id)
        command = await views.command_for(conn, account_id, object_id) if object_id.startswith("req_") else None
        waiting = None if row is not None else await views.request_event(conn, account_id, object_id)
        link = None
        if command is not None and command["kind"] == "create_account_link" and who.may("operate"):
            link = await views.answer_to(conn, account_id, command["command_id"])
        together = await linked.linked(conn, account_id, object_id, row["kind"]) if row is not None else {}
    if row is None and waiting is None:
        raise NotFound(f"The account {account_id} has no object {object_id}.")
    body: dict[str, Any] = shown.thing(row) if row is not None else _asked(waiting)
    body |= together
    if command is not None:
        body["command"] = shown.command(command)
    if link is not None:
        body |= shown.hosted_link(link)
    return polled(body, if_none_match)


def _asked(row: views.Row | None) -> dict[str, Any]:
    assert row is not None
    return {
        "id": row["event_id"],
        "kind": "request",
        "state": "requested",
        "action": row["type"].removesuffix(".requested"),
        "object_id": None,
        "error": views.parsed(row["error"]),
        "observed_at": row["created"],
        "version": 0,
    }


async def must_know(conn: Any, account_id: str) -> None:
    """Raise NotFound for an account that is not there."""
    if await views.account_state(conn, account_id) is None:
        raise NotFound(f"There is no account {account_id}.")
