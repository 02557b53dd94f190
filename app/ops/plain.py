"""Errors in plain words: what a code means to somebody who was woken up by it."""

WORDS = {
    "insufficient_funds": "There is too little money on the financial account that pays.",
    "cap_exceeded": "It would break a cap of the programme, so it was not sent.",
    "connection_lost": "The connection to Stripe was lost before an answer came, so it may or may not have taken effect.",
    "timeout": "Stripe did not answer in time, so it may or may not have taken effect.",
    "v1_server_error": "Stripe failed while it worked on it, so it may or may not have taken effect.",
    "replayed_500": "Stripe repeats an old failure under this key; what was made is read back.",
    "outcome_unknown": "Stripe's answer was lost, and nothing was found made.",
    "unreadable_answer": "Stripe's answer could not be read.",
    "rate_limit": "We ask Stripe too often; it goes out a little later.",
    "lock_timeout": "Stripe is busy with the same object; it goes out a little later.",
    "idempotency_key_in_use": "The same call is under way at Stripe; it is asked again a little later.",
    "idempotency_error": "Our key was used at Stripe with other parameters.",
    "storer_capability_not_active": "A capability that it needs is not active at Stripe yet, or no longer.",
    "capability_not_active": "A capability that it needs is not active at Stripe; it goes again once it is.",
    "financial_account_not_open": "The financial account is not open at Stripe; it goes again once it is.",
    "cardholder_not_active": "Stripe lacks something of the cardholder; it goes again once that is settled.",
    "pending_financial_account": "The financial account is still being opened at Stripe.",
    "account_not_configured_as_recipient": "Stripe is not ready yet to pay this account.",
    "suppressed_by_replay": "A replay in mode state held it back.",
    "discarded": "A person gave it up.",
    "bad_parameters": "The call cannot be built from what was asked for.",
    "enrollment_missing": "The enrollment that it came from is not in the log.",
    "no_cardholder_details": "The account was adopted or enrolled without details of a cardholder.",
    "platform_financial_account": "It is not clear which of the platform's financial accounts pays.",
    "object_missing": "The object of the event cannot be read at Stripe with this key and context.",
    "unsealable": "What is stored of it does not open: it was changed or moved, or its data key is gone.",
    "poisoned": "Folding the event failed: a defect of ours.",
    "refused_by_database": "The database refused to write what the event brings: a defect of ours.",
    "defect": "Sending failed inside cardrail: a defect of ours.",
    "bad_json": "The event's body is no JSON.",
    "no_object": "The event carries no object.",
    "unknown_object": "The event's object is of no kind we know.",
    "bad_related_url": "The event points to no path of Stripe's API.",
    "bad_internal_event": "An event of our own cannot be read.",
    "invalid_api_key": "Stripe does not accept our API key.",
    "account_invalid": "Our key has no access to this account.",
    "outbound_payment_not_allowed": "Stripe does not allow this payment.",
    "approval_required": "Somebody must approve it in Stripe's dashboard.",
}
"""By code; Stripe's own codes among them. What is not here is told in the words that came with it."""


def error(code: str, message: str) -> str:
    """One or two sentences: ours for the code, then what was said at the time, where it adds something."""
    ours = WORDS.get(code)
    if ours is None:
        return message or f"It failed with {code}."
    return f"{ours} ({message.rstrip('.')}.)" if message and message != ours else ours
