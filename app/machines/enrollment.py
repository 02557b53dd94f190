"""The machine of kind ``enrollment``. An account that was asked for and may not exist yet (platform's log)."""

from app.machines.kernel import Machine

ENROLLMENT = Machine(
    "enrollment",
    {
        "requested": ("created", "rejected"),
        "created": (),
        "rejected": (),
    },
    doc="An account that was asked for and may not exist yet (platform's log).",
)
