"""The database, since everything stands on it: whether it is reached at all, and whether it takes writes."""

from app.ops.doctor.check import Check
from app.store import trouble
from app.store.db import Connection

LATER = "what was missed comes by itself, or with cardrail backfill"


async def look(conn: Connection) -> Check:
    """A database that only answers reads stops everything, and looks well from afar."""
    refused = await trouble.refusing(conn)
    if refused is None:
        return Check(check="database", state="ok", says="answers and takes writes")
    says = f"takes no writes: {refused}"
    do = f"make room, or let it write again, or name the primary in DATABASE_URL; {LATER}"
    return Check(check="database", state="wrong", says=says, do=do)


def unreached(error: BaseException, url: str | None) -> Check:
    """What there is to say when no connection can be made."""
    do = f"start it, or correct DATABASE_URL; Stripe sends again for three days; {LATER}"
    return Check(check="database", state="wrong", says=trouble.in_words(error, url), do=do)
