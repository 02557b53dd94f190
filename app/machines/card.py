"""The machines of kind ``card`` and of its shipping."""

from app.machines.kernel import Machine

SHIPPING = Machine(
    "card.shipping",
    {
        "pending": ("submitted", "canceled"),
        "submitted": ("shipped", "canceled", "failure"),
        "shipped": ("delivered", "returned", "failure"),
        "delivered": ("returned",),
        "returned": (),
        "failure": (),
        "canceled": (),
    },
    doc="The way of a physical card to its holder.",
)

CARD = Machine(
    "card",
    {
        "inactive": ("active", "canceled"),
        "active": ("inactive", "canceled"),
        "canceled": (),
    },
    doc="A card; inactive is frozen or not yet activated, canceled is for ever.",
    parts={"shipping": SHIPPING},
)
