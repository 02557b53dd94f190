"""Cards in digital wallets: suspended, resumed and deleted on request. They come from the holder's device alone."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from app.ops import cards
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.api.actions import Asked
from app.web.api.cards import ask
from app.web.deps import Svc, Write, Writing
from app.web.reasons import Why

router = APIRouter(tags=["tokens"])

TokenPath = Annotated[str, Path(description="The token.", examples=["intok_1"], max_length=255)]


@router.post("/accounts/{account_id}/tokens/{token}/suspensions", **Asked)
async def suspend_token(
    services: Svc, write: Writing, account_id: AccountPath, token: TokenPath, body: schemas.Reason
) -> Response:
    """Stop the card in this wallet; the card itself works on."""
    return await _become(services, write, account_id, token, "suspended", body)


@router.delete("/accounts/{account_id}/tokens/{token}/suspensions", **Asked)
async def resume_token(services: Svc, write: Writing, account_id: AccountPath, token: TokenPath, why: Why) -> Response:
    """Let the card in this wallet work again."""
    return await _become(services, write, account_id, token, "active", why)


@router.post("/accounts/{account_id}/tokens/{token}/deletions", **Asked)
async def delete_token(
    services: Svc, write: Writing, account_id: AccountPath, token: TokenPath, body: schemas.Reason
) -> Response:
    """Take the card out of this wallet for good."""
    return await _become(services, write, account_id, token, "deleted", body)


async def _become(
    services: Svc, write: Write, account_id: str, token: str, status: str, body: schemas.Reason | None
) -> Response:
    reason = body.reason if body is not None else None
    return await ask(
        services, write, lambda conn, at: cards.change_token(conn, account_id, token, status, at_ms=at), body, reason
    )
