"""Lives of accounts as sequences of happenings, for tests of the lifecycle and the fold."""

from app.machines.events import AccountEnrolled, CommandSettled, Happening, Json, Observed
from app.machines.lifecycle import Facts
from app.machines.programme import Programme
from app.machines.registry import MACHINES
from app.machines.story import Story

ACCOUNT = "acct_1"
CAPABILITIES = Programme().required_capabilities


def story(*, platform: bool = False) -> Story:
    """An empty log of ``acct_1``."""
    return Story(
        account_id=ACCOUNT, platform=platform, facts=Facts(), objects={}, machines=MACHINES, programme=Programme()
    )


def enrolled(at: int = 1) -> AccountEnrolled:
    return AccountEnrolled(enrollment_id="enr_1", request={"reference": "r-1"}, at=at)


def account(
    at: int, status: str = "active", *, closed: bool = False, requirements: list[Json] | None = None
) -> Observed:
    capabilities = {path: {"status": status, "codes": []} for path in CAPABILITIES}
    fields: Json = {"capabilities": capabilities, "requirements": requirements or [], "country": "MX"}
    return Observed(
        kind="account", object_id=ACCOUNT, status="closed" if closed else "open", at=at, fields=fields, sure=True
    )


def financial_account(at: int, status: str = "open", available: int = 0) -> Observed:
    balance: Json = {"available": {"usdc": available}, "inbound_pending": {}, "outbound_pending": {}}
    fields: Json = {"type": "storage", "balance": balance}
    return Observed(kind="financial_account", object_id="fa_1", status=status, at=at, fields=fields, sure=True)


def payment(at: int, status: str, object_id: str = "obp_1") -> Observed:
    fields: Json = {"recipient": ACCOUNT, "amount": {"value": 10_000, "currency": "usd"}}
    return Observed(kind="outbound_payment", object_id=object_id, status=status, at=at, fields=fields, sure=True)


def cardholder(at: int) -> Observed:
    return Observed(kind="cardholder", object_id="ich_1", status="active", at=at, fields={"disabled_reason": None})


def card(at: int, status: str = "active") -> Observed:
    return Observed(kind="card", object_id="ic_1", status=status, at=at, fields={"cardholder": "ich_1"})


def settled(at: int, intent: str, kind: str, object_id: str) -> CommandSettled:
    return CommandSettled(command_id="cmd_1", kind=kind, intent=intent, object_id=object_id, at=at)


def whole_life() -> list[Happening]:
    """From enrollment to a live card, as Stripe would tell it in good order."""
    return [
        enrolled(1),
        account(10, "restricted"),
        account(20, "pending"),
        account(30),
        financial_account(40, "pending"),
        financial_account(50),
        payment(60, "processing"),
        payment(70, "posted"),
        financial_account(80, available=10_000),
        cardholder(90),
        card(100),
    ]
