"""The machine of kind ``token``. A card in a digital wallet."""

from app.machines.kernel import Machine

TOKEN = Machine(
    "token",
    {
        "requested": ("active", "suspended", "deleted"),
        "active": ("suspended", "deleted"),
        "suspended": ("active", "deleted"),
        "deleted": (),
    },
    doc="A card in a digital wallet.",
)
