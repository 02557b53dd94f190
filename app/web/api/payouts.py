"""Changes of what an account pays out with: payout methods, transfers under way, setup intents, its financial account."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Path
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from app.ops import closing, payouts, requests
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.api.actions import Asked, BankAccount, Wallet
from app.web.deps import AdminWriting, Svc, Write, Writing
from app.web.reasons import Why
from app.wiring import Services

router = APIRouter(tags=["actions"])

Named = Annotated[str, Path(description="Stripe's id of the object.", max_length=255, examples=["cwa_test_1"])]


class SetUp(schemas.Body):
    """What a setup intent sets up instead: exactly one of these."""

    wallet: Wallet | None = Field(None, description="A crypto wallet.")
    bank_account: BankAccount | None = Field(None, description="A bank account.", examples=[None])
    payout_method: str | None = Field(
        None, min_length=1, max_length=255, description="One that is there already.", examples=[None]
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.wallet, self.bank_account, self.payout_method)) != 1:
            raise PydanticCustomError("one_of", "exactly one of wallet, bank_account and payout_method is needed")
        return self

    def params(self) -> dict[str, Any]:
        """As parameters of the update. Raises BadInput for a malformed wallet or bank account."""
        if self.payout_method is not None:
            return {"payout_method": self.payout_method}
        data = self.wallet.data() if self.wallet is not None else self.bank_account.data() if self.bank_account else {}
        return {"payout_method_data": data}


async def _change(
    write: Write,
    services: Services,
    account_id: str,
    object_id: str,
    action: str,
    kind: str,
    body: schemas.Reason | None,
) -> Response:
    """Ask for ``action`` on one object of the account."""
    return await write.do(
        lambda conn: requests.act_on_object(
            conn, account_id, object_id, action, {kind: object_id}, kind=kind, at_ms=services.clock()
        ),
        body,
        reason=body.reason if body is not None else None,
    )


@router.post("/accounts/{account_id}/payout-methods/{payout_method}/archives", **Asked)
async def archive_payout_method(
    services: Svc, write: Writing, account_id: AccountPath, payout_method: Named, body: schemas.Reason | None = None
) -> Response:
    """Put a payout method away; nothing is sent to it until it is brought back."""
    return await _change(write, services, account_id, payout_method, "archive_payout_method", "payout_method", body)


@router.delete("/accounts/{account_id}/payout-methods/{payout_method}/archives", **Asked)
async def unarchive_payout_method(
    services: Svc, write: Writing, account_id: AccountPath, payout_method: Named, why: Why
) -> Response:
    """Bring an archived payout method back."""
    return await _change(write, services, account_id, payout_method, "unarchive_payout_method", "payout_method", why)


@router.post("/accounts/{account_id}/payout-methods/{payout_method}/disables", **Asked)
async def disable_payout_method(
    services: Svc, write: Writing, account_id: AccountPath, payout_method: Named, body: schemas.Reason
) -> Response:
    """Take a payout method out of use; only registering it anew brings it back."""
    return await _change(write, services, account_id, payout_method, "disable_payout_method", "payout_method", body)


@router.delete("/accounts/{account_id}/payout-methods/{payout_method}/disables", **Asked)
async def set_payout_method_up_again(
    services: Svc, write: Writing, account_id: AccountPath, payout_method: Named, why: Why
) -> Response:
    """Set a disabled payout method up for transfers again, by a setup intent of its own."""
    action = "create_outbound_setup_intent"
    return await _change(write, services, account_id, payout_method, action, "payout_method", why)


@router.post("/accounts/{account_id}/transfers/{transfer}/cancellations", **Asked)
async def cancel_transfer(
    services: Svc, write: Writing, account_id: AccountPath, transfer: Named, body: schemas.Reason | None = None
) -> Response:
    """Cancel a transfer that has not been posted; too late is 409, or Stripe's no on the request."""
    return await write.do(
        lambda conn: payouts.cancel(conn, account_id, transfer, at_ms=services.clock()),
        body,
        reason=body.reason if body is not None else None,
    )


@router.post("/accounts/{account_id}/setup-intents/{setup_intent}/cancellations", **Asked)
async def cancel_setup_intent(
    services: Svc, write: Writing, account_id: AccountPath, setup_intent: Named, body: schemas.Reason | None = None
) -> Response:
    """Give up setting up a payout method that still needs something."""
    action = "cancel_outbound_setup_intent"
    return await write.do(
        lambda conn: payouts.change_setup_intent(conn, account_id, setup_intent, action, {}, at_ms=services.clock()),
        body,
        reason=body.reason if body is not None else None,
    )


@router.put("/accounts/{account_id}/setup-intents/{setup_intent}/payout-method", **Asked)
async def update_setup_intent(
    services: Svc, write: Writing, account_id: AccountPath, setup_intent: Named, body: SetUp
) -> Response:
    """Correct what a setup intent that still needs something sets up: a wallet or a bank account is given whole."""
    params = body.params()
    action = "update_outbound_setup_intent"
    return await write.do(
        lambda conn: payouts.change_setup_intent(
            conn, account_id, setup_intent, action, params, at_ms=services.clock()
        ),
        body,
    )


@router.post("/accounts/{account_id}/financial-accounts/{financial_account}/closures", **Asked)
async def close_financial_account(
    services: Svc, write: AdminWriting, account_id: AccountPath, financial_account: Named, body: schemas.Reason
) -> Response:
    """Close an empty financial account, for good; its cards have nothing to spend from then."""
    return await write.do(
        lambda conn: closing.close_financial_account(conn, account_id, financial_account, at_ms=services.clock()),
        body,
        reason=body.reason,
    )
