"""Caps and keys: whether the programme can do its duty today, and whether anybody may call us, and for how long."""

from datetime import UTC, datetime, timedelta

from app.config import SANDBOX_WEBHOOK_SECRET
from app.machines.programme import Programme
from app.ops.doctor.check import Check, worse_than
from app.ops.parts import Parts
from app.store import controls, keys, outbox, platform
from app.store.db import Connection
from app.store.views import parsed

CAP_WARN, CAP_FULL = 0.8, 1.0
EXPIRES_SOON = timedelta(days=14)


async def look(conn: Connection, parts: Parts) -> list[Check]:
    """The programme's caps, how much of the day's is used, and the keys."""
    programme = parts.programme
    own = [await _platform(conn, parts), *await _platform_hold(conn, parts.platform_account)]
    return [*plausible(programme), await _today(conn, programme), *own, *await _keys(conn, parts)]


def plausible(programme: Programme) -> list[Check]:
    """Whether the caps let the programme do what it says; without a finding one ``ok``."""
    caps, amount, found = programme.caps, programme.funding.amount, []
    if amount > min(caps.per_account_day, caps.per_programme_day):
        says = f"funding.amount is {amount} cents, above a cap of the day: no funding can ever leave"
        found.append(Check(check="caps", state="wrong", says=says, do="raise the cap in CARDRAIL_PROGRAMME"))
    if caps.per_programme_day < caps.per_account_day:
        says = "per_programme_day is below per_account_day: one account can use up the day of all"
        found.append(Check(check="caps", state="warning", says=says, do="change the caps in CARDRAIL_PROGRAMME"))
    if programme.brakes.errors == 0:
        says = "brakes.errors is 0: no burst of errors stops a step"
        found.append(Check(check="caps", state="warning", says=says, do="set brakes.errors in CARDRAIL_PROGRAMME"))
    return found or [Check(check="caps", state="ok", says=f"programme {programme.name}: the caps fit its steps")]


async def _today(conn: Connection, programme: Programme) -> Check:
    _, moved = await outbox.moved_today(conn, "")
    cap = programme.caps.per_programme_day
    state = worse_than(moved / cap, CAP_WARN, CAP_FULL)
    says = f"{moved / 100:,.2f} of {cap / 100:,.2f} USD moved today (UTC)"
    do = (
        ""
        if state == "ok"
        else "raise caps.per_programme_day in CARDRAIL_PROGRAMME and restart, or wait for midnight UTC"
    )
    return Check(check="cap of the day", state=state, says=says, do=do)


async def _platform(conn: Connection, parts: Parts) -> Check:
    """Whether the platform has enough, and what waits for it."""
    found = await platform.money(conn, parts.platform_account, parts.platform_financial_account, 1)
    usd, threshold = found.available.get("usd"), parts.programme.platform.low_balance
    if usd is None:
        return Check(check="platform balance", state="ok", says="not read yet", do="")
    says = f"{usd / 100:,.2f} USD available, {found.waiting_for_balance} fundings wait for more"
    if usd < threshold or found.waiting_for_balance:
        do = "send money to an address of GET /v1/platform; what waits goes on by itself"
        if not await platform.addresses(conn, parts.platform_account):
            do = f"it has no address yet: POST /v1/platform/addresses; then {do}"
        return Check(check="platform balance", state="warning", says=says, do=do)
    return Check(check="platform balance", state="ok", says=says)


async def _platform_hold(conn: Connection, account: str) -> list[Check]:
    """A held platform enrolls nobody, and stands in no list of accounts."""
    row = await controls.find_account(conn, account)
    hold = parsed(row["hold"]) if row is not None else None
    if not hold:
        return []
    says = f"held by {hold.get('by')}: {hold.get('reason')}; no account is created meanwhile"
    return [
        Check(
            check="platform hold",
            state="warning",
            says=says,
            do=f"cardrail accounts release {account} --reason WHY --yes",
        )
    ]


async def _keys(conn: Connection, parts: Parts) -> list[Check]:
    now = datetime.now(UTC)
    valid = [k for k in await keys.every(conn) if k["revoked_at"] is None and (k["expires_at"] or now) >= now]
    found = []
    create = "cardrail keys create --scope operate --name NAME"
    if not valid and parts.settings.admin_key is None:
        says = "no API key is stored: only a CARDRAIL_ADMIN_KEY of the service itself can call"
        found.append(Check(check="keys", state="warning", says=says, do=create))
    if parts.settings.admin_key is not None:
        says = "CARDRAIL_ADMIN_KEY is in use: it has no name and never expires"
        found.append(Check(check="keys", state="warning", says=says, do=f"{create}; then unset CARDRAIL_ADMIN_KEY"))
    found += [
        Check(
            check=f"key {key['id']}",
            state="warning",
            says=f"{key['name']} expires at {key['expires_at']:%Y-%m-%d %H:%M}Z",
            do=f"{create}; then cardrail keys revoke {key['id']}",
        )
        for key in valid
        if key["expires_at"] is not None and key["expires_at"] - now < EXPIRES_SOON
    ]
    return [*(found or [Check(check="keys", state="ok", says=f"{len(valid)} valid")]), *_secrets(parts)]


def _secrets(parts: Parts) -> list[Check]:
    """The sandbox's secret beside a Stripe that is not the local sandbox."""
    if SANDBOX_WEBHOOK_SECRET not in parts.settings.webhook_secrets or parts.settings.uses_sandbox:
        return []
    says = "STRIPE_WEBHOOK_SECRETS holds the sandbox's secret, which anyone knows"
    do = "take it out and start again; cardrail destinations list shows which destinations need a secret of their own"
    return [Check(check="secrets", state="warning", says=says, do=do)]
