"""The machine of kind ``request``. One thing that an internal service asked for beside the stages."""

from app.machines.kernel import Machine

REQUEST = Machine(
    "request",
    {
        "requested": ("parked", "settled", "rejected"),
        "parked": ("requested", "settled", "rejected"),
        "settled": (),
        "rejected": (),
    },
    doc="One thing that an internal service asked for beside the stages.",
)
