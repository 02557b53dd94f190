"""doctor: looks at everything that can be wrong from outside the code, and says what would help.

A check is ``ok``, ``warning`` (look at it) or ``wrong`` (the service does not do its duty; exit 1). It changes nothing
and never raises for what it finds: an old schema or a Stripe that does not answer is a finding like any other.
"""

from app.errors import CardrailError
from app.ops.doctor import alerts, at_stripe, balances, database, door, money, outward, running, secrecy
from app.ops.doctor.check import Check, shown, wrong
from app.ops.doctor.database import unreached
from app.ops.parts import Parts
from app.store import schema

__all__ = ["Check", "examine", "shown", "unopened", "unreached", "wrong"]


async def examine(parts: Parts) -> list[Check]:
    """Look at everything."""
    try:
        await schema.check(parts.pool)
    except CardrailError as error:
        return unopened(error)
    found = [Check(check="schema", state="ok", says=schema.head())]
    async with parts.pool.acquire() as conn:
        found.append(await database.look(conn))
        found += await running.look(conn)
        found += await door.look(conn, livemode=parts.settings.livemode)
        found += await outward.look(conn)
        found += await money.look(conn, parts)
        found += await balances.look(conn, parts)
        found += await alerts.look(conn, parts.platform_account)
        found.append(await secrecy.look(conn, parts))
    return found + await at_stripe.look(parts)


def unopened(error: CardrailError) -> list[Check]:
    """What there is to say when the service cannot even be opened."""
    if error.code == "new_schema":
        do = "start the release that the database is of; what is older may not run on it"
        return [Check(check="schema", state="wrong", says=error.message, do=do)]
    if error.code == "old_schema":
        return [Check(check="schema", state="wrong", says=error.message, do="cardrail migrate")]
    return [
        Check(check="settings", state="wrong", says=error.message, do="correct it; cardrail config says what is set")
    ]
