"""What may be told about each reason of a dispute, read off the SDK's own parameter types."""

from stripe.params.issuing import _dispute_create_params as params

REASONS = (
    "canceled",
    "duplicate",
    "fraudulent",
    "merchandise_not_as_described",
    "no_valid_authorization",
    "not_received",
    "other",
    "service_not_as_described",
)


def fields(reason: str) -> frozenset[str]:
    """The names that the evidence of this reason may have. Raises KeyError for an unknown reason."""
    if reason not in REASONS:
        raise KeyError(reason)
    name = "".join(part.capitalize() for part in reason.split("_"))
    return frozenset(getattr(params, f"DisputeCreateParamsEvidence{name}").__annotations__)
