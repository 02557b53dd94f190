"""The machine of kind ``cardholder``. The person or company that a card is for."""

from app.machines.kernel import Machine

CARDHOLDER = Machine(
    "cardholder",
    {
        "active": ("inactive", "blocked"),
        "inactive": ("active", "blocked"),
        "blocked": (),
    },
    doc="The person or company that a card is for.",
)
