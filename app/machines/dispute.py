"""The machine of kind ``dispute``. A purchase that the holder contests."""

from app.machines.kernel import Machine

DISPUTE = Machine(
    "dispute",
    {
        "unsubmitted": ("submitted", "expired"),
        "submitted": ("won", "lost"),
        "won": (),
        "lost": (),
        "expired": (),
    },
    doc="A purchase that the holder contests.",
)
