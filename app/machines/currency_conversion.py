"""The machine of kind ``currency_conversion``. One currency became another."""

from app.machines.kernel import Machine

CURRENCY_CONVERSION = Machine(
    "currency_conversion",
    {
        "posted": (),
    },
    doc="One currency became another.",
)
