"""The machine of kind ``personalization_design``. How a physical card looks."""

from app.machines.kernel import Machine

PERSONALIZATION_DESIGN = Machine(
    "personalization_design",
    {
        "inactive": ("review", "active", "rejected"),
        "review": ("inactive", "active", "rejected"),
        "active": ("inactive", "review", "rejected"),
        "rejected": ("inactive", "review", "active"),
    },
    doc="How a physical card looks.",
)
