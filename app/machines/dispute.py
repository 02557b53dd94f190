"""The machines of kind ``dispute`` and of the money that follows it."""

from app.machines.kernel import Machine

FUNDS = Machine(
    "dispute.funds",
    {
        "reinstated": ("rescinded",),
        "rescinded": (),
    },
    doc="The disputed money: credited to the account (provisionally or for good), then perhaps taken back.",
)

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
    parts={"funds": FUNDS},
)
