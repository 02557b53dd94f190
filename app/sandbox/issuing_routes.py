"""The calls of Issuing (v1) and its test helpers."""

from app.sandbox import (
    authorizations,
    captures,
    card_secrets,
    cardholders,
    cards,
    designs,
    disputes,
    monitor,
    shipping,
    tokens,
)
from app.sandbox.routing import metadata_only, post, reads

_TERMS = frozenset({"individual.user_terms_acceptance"})
_I = "/v1/issuing"
_T = "/v1/test_helpers/issuing"
ISSUING = [
    post(f"{_I}/cardholders", cardholders.create, "issuing.CardholderCreateParams", *_TERMS),
    post(f"{_I}/cardholders/{{id}}", cardholders.update, "issuing.CardholderUpdateParams", *_TERMS),
    *reads(f"{_I}/cardholders", cardholders.KIND, monitor.v1_list(cardholders.KIND, "email", "status", "type")),
    post(f"{_I}/cards", cards.create, "issuing.CardCreateParams", "financial_account_v2"),
    post(f"{_I}/cards/{{id}}", cards.update, "issuing.CardUpdateParams"),
    *reads(f"{_I}/cards", cards.KIND, monitor.v1_list(cards.KIND, "cardholder", "status", "type", "last4")),
    post(f"{_I}/authorizations/{{id}}/approve", authorizations.decide_by_call, "issuing.AuthorizationApproveParams"),
    post(f"{_I}/authorizations/{{id}}/decline", authorizations.decide_by_call, "issuing.AuthorizationDeclineParams"),
    post(
        f"{_T}/authorizations/{{id}}/finalize_amount",
        authorizations.finalize,
        "test_helpers.issuing.AuthorizationFinalizeAmountParams",
    ),
    post(
        f"{_T}/authorizations/{{id}}/fraud_challenges/respond",
        authorizations.respond,
        "test_helpers.issuing.AuthorizationRespondParams",
    ),
    post(
        f"{_T}/transactions/create_unlinked_refund",
        captures.unlinked_refund,
        "test_helpers.issuing.TransactionCreateUnlinkedRefundParams",
    ),
    post(f"{_T}/disputes/{{id}}/provisional_credit", disputes.provisional_credit),
    post(f"{_I}/authorizations/{{id}}", metadata_only(authorizations.KIND), "issuing.AuthorizationUpdateParams"),
    *reads(
        f"{_I}/authorizations",
        authorizations.KIND,
        monitor.v1_list(authorizations.KIND, "card", "cardholder", "status"),
    ),
    post(f"{_I}/transactions/{{id}}", metadata_only(captures.TRANSACTION), "issuing.TransactionUpdateParams"),
    *reads(
        f"{_I}/transactions", captures.TRANSACTION, monitor.v1_list(captures.TRANSACTION, "card", "cardholder", "type")
    ),
    post(f"{_I}/disputes", disputes.create, "issuing.DisputeCreateParams"),
    post(f"{_I}/disputes/{{id}}", disputes.update, "issuing.DisputeUpdateParams"),
    post(f"{_I}/disputes/{{id}}/submit", disputes.submit, "issuing.DisputeSubmitParams"),
    *reads(f"{_I}/disputes", disputes.KIND, monitor.v1_list(disputes.KIND, "status", "transaction")),
    post(f"{_I}/tokens/{{id}}", tokens.update_token, "issuing.TokenUpdateParams"),
    *reads(f"{_I}/tokens", tokens.TOKEN, monitor.v1_list(tokens.TOKEN, "card", "status")),
    post(f"{_T}/authorizations", authorizations.create, "test_helpers.issuing.AuthorizationCreateParams"),
    post(f"{_T}/authorizations/{{id}}/capture", captures.capture, "test_helpers.issuing.AuthorizationCaptureParams"),
    post(f"{_T}/authorizations/{{id}}/reverse", captures.reverse, "test_helpers.issuing.AuthorizationReverseParams"),
    post(f"{_T}/authorizations/{{id}}/expire", captures.expire, "test_helpers.issuing.AuthorizationExpireParams"),
    post(
        f"{_T}/authorizations/{{id}}/increment",
        authorizations.increment,
        "test_helpers.issuing.AuthorizationIncrementParams",
    ),
    post(f"{_T}/transactions/{{id}}/refund", captures.refund, "test_helpers.issuing.TransactionRefundParams"),
    post(
        f"{_T}/transactions/create_force_capture",
        captures.force,
        "test_helpers.issuing.TransactionCreateForceCaptureParams",
    ),
    post(f"{_T}/disputes/{{id}}/close", disputes.close, "test_helpers.issuing.DisputeCloseParams"),
    *[post(f"{_T}/cards/{{id}}/shipping/{step}", shipping.move) for step in shipping.STEPS],
    post("/v1/ephemeral_keys", card_secrets.ephemeral_key, "EphemeralKeyCreateParams"),
    post(f"{_I}/personalization_designs", designs.create, "issuing.PersonalizationDesignCreateParams"),
    post(f"{_I}/personalization_designs/{{id}}", designs.update, "issuing.PersonalizationDesignUpdateParams"),
    *reads(f"{_I}/personalization_designs", designs.KIND, monitor.v1_list(designs.KIND, "status", "lookup_key")),
    *reads(f"{_I}/physical_bundles", designs.BUNDLE, designs.bundles),
    *[post(f"{_T}/personalization_designs/{{id}}/{step}", designs.move) for step in (*designs.STEPS, "reject")],
    post(f"{_I}/programs", designs.program, "issuing.ProgramCreateParams"),
    *reads(f"{_I}/programs", designs.PROGRAM, monitor.v1_list(designs.PROGRAM, "platform_program")),
]
