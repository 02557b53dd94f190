"""The machine of kind ``health_alert``. Something that Stripe says is wrong with our side, or was with its own."""

from app.machines.kernel import Machine

HEALTH_ALERT = Machine(
    "health_alert",
    {
        "firing": ("resolved",),
        "resolved": (),
    },
    doc="Something that Stripe noticed: our answers are slow or bad, or it failed to generate events (platform's log).",
)

EVENTS_MISSED = "event_generation_failure"
"""The alarm that says that events were never generated: what they told must be fetched."""

CRITICAL = frozenset({EVENTS_MISSED, "issuing_authorization_request_errors", "issuing_authorization_request_timeout"})
"""Alarms where cards are declined or facts are missing; the others are slower or more errors than usual."""


def severity(alarm: str) -> str:
    """``critical`` or ``warning``; Stripe itself ranks none."""
    return "critical" if alarm in CRITICAL else "warning"
