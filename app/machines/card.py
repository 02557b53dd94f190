"""The machine of kind ``card``. A card; inactive is frozen, canceled is for ever."""

from app.machines.kernel import Machine

CARD = Machine(
    "card",
    {
        "inactive": ("active", "canceled"),
        "active": ("inactive", "canceled"),
        "canceled": (),
    },
    doc="A card; inactive is frozen, canceled is for ever.",
)
