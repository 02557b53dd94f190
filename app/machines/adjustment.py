"""The machine of kind ``adjustment``. Stripe corrected a balance."""

from app.machines.kernel import Machine

ADJUSTMENT = Machine(
    "adjustment",
    {
        "posted": (),
    },
    doc="Stripe corrected a balance.",
)
