"""The machine of kind ``account``. The connected account itself; its capabilities are facts of the lifecycle."""

from app.machines.kernel import Machine

ACCOUNT = Machine(
    "account",
    {
        "open": ("closed",),
        "closed": (),
    },
    doc="The connected account itself; its capabilities are facts of the lifecycle.",
)
