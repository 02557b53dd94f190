"""The machine of kind ``financial_address``. Where money from outside arrives."""

from app.machines.kernel import Machine

FINANCIAL_ADDRESS = Machine(
    "financial_address",
    {
        "pending": ("active", "failed"),
        "active": ("archived",),
        "failed": (),
        "archived": (),
    },
    doc="Where money from outside arrives.",
)
