"""What Stripe itself says is wrong: its health alerts that are open."""

from app.ops.doctor.check import Check, State
from app.store import alerts
from app.store.db import Connection
from app.store.views import parsed

DO = {
    "issuing_authorization_request_errors": "cardrail authorizations list --mismatch; what this doctor says of the"
    " database and of rejections at /webhooks/stripe/authorizations",
    "issuing_authorization_request_timeout": "cardrail authorizations list --mismatch: TOOK_US is our part of the time;"
    " is this machine, the database or the way to it overloaded?",
    "webhook_latency": "cardrail_ack_seconds on /metrics is our part of the time; is this machine, the database or the"
    " way to it overloaded?",
}


async def look(conn: Connection, platform: str) -> list[Check]:
    """One finding per open alert."""
    rows = await alerts.firing(conn, platform)
    if not rows:
        return [Check(check="health alerts", state="ok", says="Stripe has none open")]
    found = []
    for row in rows:
        data = parsed(row["data"])
        says = f"since {data.get('started_at') or row['created_at']}: {data.get('summary') or 'no summary'}"
        do = DO.get(data["alarm"], "look at the health page of Stripe's dashboard")
        state: State = "wrong" if data["severity"] == "critical" else "warning"
        found.append(Check(check=f"health alert {data['alarm']}", state=state, says=says, do=do))
    return found
