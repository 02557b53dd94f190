"""Every stable problem code: what it means and what the caller can do. A code, once given, keeps its meaning.

This table is the law: the description of the API, the page that a problem's ``type`` points to and docs/problems.md are
made from it, and a test compares it with the codes that the code raises.
"""

import html
from http import HTTPStatus
from typing import NamedTuple

PAGE = "/problems"


class Code(NamedTuple):
    """One code. ``at`` says which operations may answer it: a tag of the API, ``write`` (takes an Idempotency-Key),
    ``list`` (takes a cursor), ``body``, ``any``; ``door`` is Stripe's, ``cli`` the command line's and ``console`` the
    console's alone.
    """

    code: str
    status: int
    meaning: str
    remedy: str
    at: tuple[str, ...] = ("any",)


_CARDS = ("actions", "cards", "cardholders", "tokens")
_LATER = "Try again after `Retry-After` seconds."
_LOOK = "Read it again: someone was faster, or it is over."
_COMPARE = "Compare the signing secret of the destination with `STRIPE_WEBHOOK_SECRETS`; `cardrail doctor` helps."

CODES: tuple[Code, ...] = (
    # 400: what was sent cannot be read
    Code("bad_input", 400, "A value cannot be meant, or holds a character that cannot be stored.", "Correct it."),
    Code("bad_json", 400, "The body is no JSON.", "Send JSON.", ("body",)),
    Code("bad_cursor", 400, "The cursor is none of this list's.", "Use `next_cursor` as it came.", ("list",)),
    Code(
        "bad_last_event_id",
        400,
        "The `Last-Event-ID` is none of this stream's.",
        "Send the id as it came, or none.",
        ("streams",),
    ),
    Code("bad_period", 400, "Books are asked for one day or for up to 92 days.", "Correct the days.", ("accounts",)),
    Code("period_too_long", 400, "The period holds too many entries.", "Ask for fewer days.", ("accounts",)),
    Code("empty_filter", 400, "A bulk replay without a filter would replay everything.", "Name one.", ("replays",)),
    Code("bad_replay", 400, "Mode, rate or reason of a replay will not do.", "Correct it.", ("replays",)),
    # 401, 403: who asks
    Code("unauthenticated", 401, "No API key came with the request.", "Send `Authorization: Bearer <key>`."),
    Code(
        "bad_key",
        401,
        "The API key is unknown, expired or revoked.",
        "Ask an admin: `cardrail keys create --name NAME`.",
    ),
    Code("forbidden", 403, "The key's scope does not reach this far.", "Use a key with the scope that is named."),
    Code(
        "bad_form",
        403,
        "A form of the console that is not of this session.",
        "Load the page again and repeat.",
        ("console",),
    ),
    Code(
        "second_key_needed",
        403,
        "A forced replay is confirmed by another key than the one that asked.",
        "Let another admin confirm it.",
        ("replays",),
    ),
    # 404, 405, 408, 413, 415: the request does not fit any route
    Code("not_found", 404, "There is no such thing, or no such route.", "Check the id."),
    Code("method_not_allowed", 405, "The route has no such method.", "See the API's description.", ("route",)),
    Code("body_too_large", 413, "The body is longer than `CARDRAIL_BODY_MAX_BYTES`.", "Send less.", ("body", "door")),
    Code("body_too_slow", 408, "The body did not arrive in time.", "Send it without pauses.", ("body", "door")),
    Code(
        "unsupported_media_type",
        415,
        "The body is not sent as JSON.",
        "Send `Content-Type: application/json`.",
        ("body",),
    ),
    # 409: it stands against what is already so
    Code("conflict", 409, "It stands against what is already so.", "Read the thing again.", ("cli",)),
    Code(
        "idempotency_in_progress",
        409,
        "A request with this `Idempotency-Key` is under way.",
        "Repeat it in a moment: you get the first one's answer.",
        ("write",),
    ),
    Code(
        "idempotency_key_reused",
        409,
        "This `Idempotency-Key` was used for another request.",
        "Use a new key for a new request.",
        ("write",),
    ),
    Code(
        "account_not_enrolled",
        409,
        "The account is only followed: nothing is sent for it.",
        "Enroll or adopt it.",
        _CARDS,
    ),
    Code("account_closed", 409, "The account is closed.", "Nothing more can be asked of it.", _CARDS),
    Code("account_rejected", 409, "Stripe rejected the account.", "Nothing more can be asked of it.", _CARDS),
    Code("account_holds_money", 409, "Money is on the account.", "Pay it out, then close.", ("actions",)),
    Code("financial_account_closed", 409, "The financial account is closed for good.", _LOOK, ("actions",)),
    Code(
        "setup_intent_succeeded", 409, "The setup intent has done its work.", "Change the payout method.", ("actions",)
    ),
    Code(
        "setup_intent_canceled", 409, "The setup intent was given up.", "Register the payout method anew.", ("actions",)
    ),
    Code(
        "money_under_way", 409, "Money is on its way to the account.", "Wait until it arrived or failed.", ("actions",)
    ),
    Code("account_held", 409, "The account is held: nothing leaves for it.", "Release it first.", _CARDS),
    Code("braked", 409, "A brake stops this step everywhere.", "Wait, or let the brake go.", _CARDS),
    Code("card_canceled", 409, "The card is canceled for good.", "Ask for another card.", _CARDS),
    Code("card_replaced", 409, "The card was replaced already.", "Use the card that replaced it.", _CARDS),
    Code("cardholder_inactive", 409, "The cardholder is inactive.", "Name an active one.", _CARDS),
    Code("cardholder_blocked", 409, "Stripe has blocked the cardholder.", "Name an active one.", _CARDS),
    Code(
        "token_deleted", 409, "The token is deleted for good.", "The holder adds the card to the wallet again.", _CARDS
    ),
    Code("dispute_exists", 409, "The purchase is disputed already.", "Follow that dispute.", _CARDS),
    Code("dispute_submitted", 409, "The dispute is with the network.", "Wait for its decision.", _CARDS),
    Code("dispute_won", 409, "The dispute is decided.", _LOOK, _CARDS),
    Code("dispute_lost", 409, "The dispute is decided.", _LOOK, _CARDS),
    Code("dispute_expired", 409, "The dispute was not submitted in time.", "Nothing more can be done.", _CARDS),
    Code("not_cancelable", 409, "The transfer has gone too far to be canceled.", _LOOK, _CARDS),
    Code("payout_method_archived", 409, "The payout method is archived.", "Unarchive it first.", _CARDS),
    Code("payout_method_restricted", 409, "Stripe restricted the payout method.", "Only Stripe can say why.", _CARDS),
    Code(
        "payout_method_requires_action", 409, "The payout method is not ready yet.", "Wait, or ask its holder.", _CARDS
    ),
    Code("payout_method_ineligible", 409, "Stripe does not allow this payout method.", "Use another one.", _CARDS),
    Code("payout_method_disabled", 409, "The payout method is disabled.", "Use another one.", _CARDS),
    Code("payout_method_invalid", 409, "The payout method does not work.", "Use another one.", _CARDS),
    Code(
        "payout_method_unsupported_currency",
        409,
        "The payout method does not take this currency.",
        "Use one that it takes.",
        _CARDS,
    ),
    Code(
        "account_busy",
        409,
        "A worker is busy with the account; nothing was written.",
        "Try again in a moment.",
        ("operations", "events"),
    ),
    Code("no_brake", 409, "The step does not stand still.", "Nothing needs to be let go.", ("cli",)),
    Code(
        "nothing_refused",
        409,
        "The account stands at no step whose attempts all brought nothing.",
        "Its explanation says what it waits for.",
        ("controls",),
    ),
    Code("bad_answer", 409, "A parked thing does not take this answer.", "See the sentence.", ("operations",)),
    Code("not_held", 409, "The account is not held.", "Nothing needs to be released.", ("controls",)),
    Code("already_enrolled", 409, "The account is enrolled already.", "Nothing needs to be done.", ("cli",)),
    Code("platform_account", 409, "This is the platform's own account.", "Name a connected account.", ("cli",)),
    Code("command_pending", 409, "The command may have left already.", _LOOK, ("commands",)),
    Code("command_in_flight", 409, "The command is being sent.", "Wait for its outcome.", ("commands",)),
    Code("command_unknown", 409, "The command's reply was lost and is being found out.", "Wait.", ("commands",)),
    Code("command_settled", 409, "The command is done.", _LOOK, ("commands",)),
    Code("command_rejected", 409, "The command was refused or given up.", _LOOK, ("commands",)),
    Code("event_applied", 409, "The event was applied.", "Replay it in mode state or force.", ("events",)),
    Code("event_ignored", 409, "The event was ignored.", "Replay it in mode resume.", ("events",)),
    Code("event_refused", 409, "The machines refuse the event.", "Reconcile the account.", ("events",)),
    Code("event_unreadable", 409, "The event cannot be folded.", "See its `error`.", ("events",)),
    Code("not_replayable", 409, "A person's decision is not repeated.", "Decide anew.", ("events",)),
    Code("other_mode", 409, "The event is of the other mode (test or live).", "Leave it.", ("events",)),
    Code(
        "log_unreadable",
        409,
        "Events of the log cannot be read; nothing was written.",
        "See `unreadable`.",
        ("operations",),
    ),
    Code(
        "payload_dropped",
        409,
        "Retention took the event's body away.",
        "Rebuild or reconcile the account instead.",
        ("events",),
    ),
    Code("replay_planned", 409, "The bulk replay was only planned.", "Nothing needs to be stopped.", ("replays",)),
    Code("replay_running", 409, "The bulk replay runs already.", "Nothing needs to be confirmed.", ("replays",)),
    Code("replay_dry_run", 409, "A dry run is never run.", "Start it with `dry_run` false.", ("replays",)),
    Code("forecast_pending", 409, "The replay is still being looked through.", "Look again in a moment.", ("replays",)),
    Code("replay_finished", 409, "The bulk replay is over.", "Nothing needs to be stopped.", ("replays",)),
    Code("replay_stopped", 409, "The bulk replay was stopped.", "Nothing needs to be stopped.", ("replays",)),
    Code("replay_failed", 409, "The bulk replay failed.", "Nothing needs to be stopped.", ("replays",)),
    # 422: read, but wrong
    Code("invalid", 422, "Fields are wrong or unknown; `errors` names each.", "Correct them."),
    Code("bad_since", 422, "`since` is no time in the past with its zone.", "Correct it.", ("operations",)),
    Code("country_not_in_programme", 422, "The programme has no accounts there.", "See `errors`.", ("enrollments",)),
    Code("request_unreadable", 422, "It asks for no authorization.", "See `detail`.", ("authorizations",)),
    Code("account_unnamed", 422, "It does not say whose it is.", "Send `account` too.", ("authorizations",)),
    Code("bad_rules", 422, "The rules to try cannot be meant.", "See `detail`.", ("authorizations",)),
    Code("unknown_programme", 422, "No such programme runs here.", "See `errors`.", ("enrollments",)),
    # 429, 5xx: not now
    Code("rate_limited", 429, "The key asks more often than `CARDRAIL_RATE_LIMIT_PER_S`.", _LATER),
    Code("internal", 500, "A defect of ours; it has been logged.", "Tell us.", ("route",)),
    Code("unsealable", 500, "A stored value does not open: changed, or its key is gone.", "Tell us.", ("route",)),
    Code("stripe_refused", 502, "Stripe said no; `stripe_code` says why.", "See Stripe's code.", ("cli",)),
    Code("unavailable", 503, "The database or Stripe cannot answer now.", _LATER, ("any", "door")),
    Code("destinations_unknown", 503, "Stripe does not list its event destinations.", _LATER, ("operations",)),
    # Stripe's door: Stripe shows these in its dashboard
    Code("signature_missing", 400, "No `Stripe-Signature` header.", "Only Stripe posts here.", ("door",)),
    Code("signature_malformed", 400, "The header has no time.", "A proxy may change headers.", ("door",)),
    Code("signature_scheme", 400, "The header has no `v1` signature.", "A proxy may change headers.", ("door",)),
    Code("signature_mismatch", 400, "No secret of ours made this signature.", _COMPARE, ("door",)),
    Code(
        "signature_stale",
        400,
        "The signature is too old.",
        "Set the clock, or `CARDRAIL_SIGNATURE_TOLERANCE_S`.",
        ("door",),
    ),
    Code("signature_future", 400, "The signature is of the future.", "Set the clock.", ("door",)),
    Code("body_not_utf8", 400, "The body is no text.", "A proxy may change bodies.", ("door",)),
    Code("body_not_json", 400, "The body is no JSON.", "A proxy may change bodies.", ("door",)),
    Code("body_no_event", 400, "The body is no event.", "Check what is sent here.", ("door",)),
    Code("event_field_too_long", 400, "An id or type is too long to be Stripe's.", "Check the sender.", ("door",)),
    Code("event_field_unstorable", 400, "An id or type holds a NUL.", "Check the sender.", ("door",)),
    Code("event_created_invalid", 400, "`created` is no time of this century.", "Check the sender.", ("door",)),
    Code("event_unstorable", 400, "The event cannot be stored.", "Check the sender.", ("door",)),
    # The command line alone; with --json also in its output
    Code(
        "bad_config", 500, "A setting is missing or wrong; the sentence names it.", "See `cardrail config`.", ("cli",)
    ),
    Code(
        "platform_unknown", 500, "Nobody says which account is the platform's.", "Set `PLATFORM_ACCOUNT_ID`.", ("cli",)
    ),
    Code("cannot_listen", 500, "The address cannot be listened on.", "Free it, or name another.", ("cli",)),
    Code(
        "new_schema",
        500,
        "The database is of a newer release.",
        "Start the release that the database is of.",
        ("cli",),
    ),
    Code("old_schema", 500, "The database has another schema.", "`cardrail migrate`.", ("cli",)),
    Code("openapi_differs", 500, "openapi.yaml is not what the code says.", "`make openapi`.", ("cli",)),
    Code("embedded_database_failed", 503, "The embedded PostgreSQL did not start.", "See its log.", ("cli",)),
    Code("not_the_sandbox", 400, "Purchases are simulated in the sandbox only.", "Unset `STRIPE_API_KEY`.", ("cli",)),
    Code("account_missing", 400, "`--repair` takes one account.", "Name it.", ("cli",)),
    Code(
        "key_missing",
        400,
        "A second key confirms, and none was given.",
        "Type it, pipe it in or give `--key`.",
        ("cli",),
    ),
    # Subscriptions to notices
    Code(
        "subscription_disabled",
        409,
        "Nothing is sent to a subscription that is disabled.",
        "Enable it first.",
        ("subscriptions",),
    ),
    Code(
        "bad_receiver",
        422,
        "Notices cannot be posted to this URL: https is needed, and no user, password or fragment.",
        "Correct it; `CARDRAIL_RECEIVERS=any` allows http.",
        ("subscriptions",),
    ),
    Code("bad_url", 422, "Stripe cannot post to this address.", "Name an https address.", ("operations",)),
    Code("unknown_host", 422, "The URL's host has no address.", "Correct it.", ("subscriptions",)),
    Code(
        "private_address",
        422,
        "The URL's host has an address that is not public.",
        "Use a public one; `CARDRAIL_RECEIVERS=private` allows others.",
        ("subscriptions",),
    ),
    Code("unknown_type", 422, "No notice has this type.", "Use one of those that are named.", ("subscriptions",)),
    Code(
        "too_many_subscriptions", 409, "There are as many subscriptions as may be.", "Delete one.", ("subscriptions",)
    ),
    Code("delivery_in_flight", 409, "The delivery is being sent right now.", "Look how it ends.", ("subscriptions",)),
)


def uri(code: str) -> str:
    """The ``type`` of a problem: where its code is explained, on the server that answered."""
    return f"{PAGE}#{code}"


def markdown() -> str:
    """docs/problems.md."""
    lines = [
        "# Problem codes",
        "",
        "Errors are RFC 9457 problems (`application/problem+json`): branch on `code`, show `detail` to a human, and in a",
        "422 read `errors`, which names each wrong field. A code keeps its meaning for ever. `type` points to this table on",
        "the server that answered. This file is made from `app/web/codes.py` by `cardrail openapi --write`.",
    ]
    for title, codes in _sections():
        lines += ["", f"## {title}", "", "| code | status | meaning | what to do |", "|---|---|---|---|"]
        lines += [f"| `{c.code}` | {c.status} | {c.meaning} | {c.remedy} |" for c in codes]
    return "\n".join(lines) + "\n"


def page() -> str:
    """The same for a browser; each row can be linked to."""
    rows = [
        f'<tr id="{c.code}"><td><code>{c.code}</code></td><td>{c.status} {HTTPStatus(c.status).phrase}</td>'
        f"<td>{html.escape(c.meaning)}</td><td>{html.escape(c.remedy)}</td></tr>"
        for _, codes in _sections()
        for c in codes
    ]
    style = "body{font:15px sans-serif;margin:2em}td{padding:.3em 1em .3em 0}:target{background:#ffd}"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Problem codes</title>'
        f"<style>{style}</style></head><body><h1>Problem codes</h1><table>{''.join(rows)}</table></body></html>"
    )


def _sections() -> list[tuple[str, list[Code]]]:
    door = [code for code in CODES if "door" in code.at]
    line = [code for code in CODES if code.at == ("cli",)]
    desk = [code for code in CODES if code.at == ("console",)]
    api = [code for code in CODES if code.at not in {("door",), ("cli",), ("console",)}]
    return [("The API", api), ("Stripe's door", door), ("The command line", line), ("The console", desk)]
