"""The machine of kind ``authorization``. A purchase being authorized: declined ones are closed at once."""

from app.machines.kernel import Machine

AUTHORIZATION = Machine(
    "authorization",
    {
        "pending": ("closed", "reversed", "expired"),
        "closed": (),
        "reversed": (),
        "expired": (),
    },
    doc="A purchase being authorized: declined ones are closed at once.",
)
