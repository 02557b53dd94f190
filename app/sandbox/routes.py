"""Every call of the API that this world knows: method, path, handler, and the SDK type its body is held to."""

from typing import Any

from app.sandbox import (
    accounts,
    addresses,
    authorizations,
    books,
    captures,
    cardholders,
    cards,
    disputes,
    event_api,
    financial_accounts,
    monitor,
    outbound,
    payout_methods,
    persons,
    settlement,
    shipping,
    tokens,
)
from app.sandbox.calls import Answer, Call, Handler, Json, Route
from app.sandbox.vocabulary import account_in
from app.sandbox.world import World

MM = "/v2/money_management"
_MM = "v2.money_management."
_TERMS = frozenset({"individual.user_terms_acceptance"})


def _post(template: str, handler: Handler, shape: str | None = None, *extras: str, prepare: Any = None) -> Route:
    return Route("POST", template, handler, shape, frozenset(extras), prepare)


def _reads(path: str, kind: str, everything: Handler) -> list[Route]:
    return [Route("GET", path, everything), Route("GET", f"{path}/{{id}}", monitor.retrieves(kind))]


def metadata_only(kind: str) -> Handler:
    """An update of metadata."""

    def update(world: World, call: Call) -> Answer:
        record = world.find(kind, call.ids[0], call.account, call.api)
        given: Json = call.params.get("metadata") or {}
        record.data["metadata"] = {k: v for k, v in {**record.data["metadata"], **given}.items() if v}
        world.snapshot("updated", record)
        return Answer(record)

    return update


CORE = [
    _post("/v2/core/accounts", accounts.create, "v2.core.AccountCreateParams", prepare=account_in),
    Route("GET", "/v2/core/accounts", accounts.everything),
    Route("GET", "/v2/core/accounts/{id}", accounts.retrieve),
    _post("/v2/core/accounts/{id}", accounts.update, "v2.core.AccountUpdateParams", prepare=account_in),
    _post("/v2/core/accounts/{id}/close", accounts.close),
    _post("/v2/core/accounts/{id}/persons", persons.create_person),
    Route("GET", "/v2/core/accounts/{id}/persons", persons.persons),
    Route("GET", "/v2/core/accounts/{id}/persons/{pid}", persons.retrieve_person),
    _post("/v2/core/account_links", persons.create_link, "v2.core.AccountLinkCreateParams"),
    Route("GET", "/v2/core/events", event_api.list_v2),
    Route("GET", "/v2/core/events/{id}", event_api.retrieve_v2),
    _post("/v2/core/event_destinations", event_api.create, "v2.core.EventDestinationCreateParams"),
    *_reads("/v2/core/event_destinations", event_api.KIND, monitor.v2_list(event_api.KIND)),
    _post("/v2/core/event_destinations/{id}/ping", event_api.ping),
    _post("/v2/core/event_destinations/{id}/enable", event_api.switch),
    _post("/v2/core/event_destinations/{id}/disable", event_api.switch),
]

MONEY = [
    _post(f"{MM}/financial_accounts", financial_accounts.create, _MM + "FinancialAccountCreateParams"),
    Route("GET", f"{MM}/financial_accounts", financial_accounts.everything),
    Route("GET", f"{MM}/financial_accounts/{{id}}", financial_accounts.retrieve),
    _post(f"{MM}/financial_accounts/{{id}}", financial_accounts.update, _MM + "FinancialAccountUpdateParams"),
    _post(f"{MM}/financial_accounts/{{id}}/close", financial_accounts.close, _MM + "FinancialAccountCloseParams"),
    _post(
        f"{MM}/financial_addresses", addresses.create, _MM + "FinancialAddressCreateParams", prepare=addresses.prepare
    ),
    Route("GET", f"{MM}/financial_addresses", addresses.everything),
    Route("GET", f"{MM}/financial_addresses/{{id}}", addresses.retrieve),
    _post(f"{MM}/test_helpers/financial_addresses/{{id}}/credit", addresses.credit),
    _post("/v2/test_helpers/financial_addresses/{id}/credit", addresses.credit),
    _post(f"{MM}/outbound_payments", outbound.create_payment, _MM + "OutboundPaymentCreateParams"),
    *_reads(f"{MM}/outbound_payments", settlement.PAYMENT, outbound.lists(settlement.PAYMENT)),
    _post(f"{MM}/outbound_payments/{{id}}/cancel", outbound.cancel),
    _post(f"{MM}/outbound_transfers", outbound.create_transfer, _MM + "OutboundTransferCreateParams"),
    *_reads(f"{MM}/outbound_transfers", settlement.TRANSFER, outbound.lists(settlement.TRANSFER)),
    _post(f"{MM}/outbound_transfers/{{id}}/cancel", outbound.cancel),
    _post(f"{MM}/outbound_setup_intents", payout_methods.create, _MM + "OutboundSetupIntentCreateParams"),
    *_reads(f"{MM}/outbound_setup_intents", payout_methods.INTENT, payout_methods.intents),
    *_reads(f"{MM}/payout_methods", payout_methods.KIND, payout_methods.everything),
    _post(f"{MM}/payout_methods/{{id}}/archive", payout_methods.archive),
    _post(f"{MM}/payout_methods/{{id}}/unarchive", payout_methods.archive),
    *_reads(f"{MM}/received_credits", books.CREDIT, monitor.v2_list(books.CREDIT)),
    *_reads(f"{MM}/received_debits", authorizations.DEBIT, monitor.v2_list(authorizations.DEBIT)),
    *_reads(f"{MM}/transactions", books.TRANSACTION, monitor.v2_list(books.TRANSACTION, "financial_account", "flow")),
    _post(f"{MM}/transactions/{{id}}", books.describe),
    *_reads(f"{MM}/transaction_entries", books.ENTRY, monitor.v2_list(books.ENTRY, "transaction")),
    *[
        route
        for noun in ("adjustment", "currency_conversion", "inbound_transfer")  # never made here, but may be asked for
        for route in _reads(f"{MM}/{noun}s", _MM + noun, monitor.v2_list(_MM + noun))
    ],
]

_I = "/v1/issuing"
_T = "/v1/test_helpers/issuing"
ISSUING = [
    Route("GET", "/v1/account", accounts.own),
    Route("GET", "/v1/events", event_api.list_v1),
    Route("GET", "/v1/events/{id}", event_api.retrieve_v1),
    _post(f"{_I}/cardholders", cardholders.create, "issuing.CardholderCreateParams", *_TERMS),
    _post(f"{_I}/cardholders/{{id}}", cardholders.update, "issuing.CardholderUpdateParams", *_TERMS),
    *_reads(f"{_I}/cardholders", cardholders.KIND, monitor.v1_list(cardholders.KIND, "email", "status", "type")),
    _post(f"{_I}/cards", cards.create, "issuing.CardCreateParams", "financial_account_v2"),
    _post(f"{_I}/cards/{{id}}", cards.update, "issuing.CardUpdateParams"),
    *_reads(f"{_I}/cards", cards.KIND, monitor.v1_list(cards.KIND, "cardholder", "status", "type", "last4")),
    _post(f"{_I}/authorizations/{{id}}", metadata_only(authorizations.KIND), "issuing.AuthorizationUpdateParams"),
    *_reads(
        f"{_I}/authorizations",
        authorizations.KIND,
        monitor.v1_list(authorizations.KIND, "card", "cardholder", "status"),
    ),
    _post(f"{_I}/transactions/{{id}}", metadata_only(captures.TRANSACTION), "issuing.TransactionUpdateParams"),
    *_reads(
        f"{_I}/transactions", captures.TRANSACTION, monitor.v1_list(captures.TRANSACTION, "card", "cardholder", "type")
    ),
    _post(f"{_I}/disputes", disputes.create, "issuing.DisputeCreateParams"),
    _post(f"{_I}/disputes/{{id}}", disputes.update, "issuing.DisputeUpdateParams"),
    _post(f"{_I}/disputes/{{id}}/submit", disputes.submit, "issuing.DisputeSubmitParams"),
    *_reads(f"{_I}/disputes", disputes.KIND, monitor.v1_list(disputes.KIND, "status", "transaction")),
    _post(f"{_I}/tokens/{{id}}", tokens.update_token, "issuing.TokenUpdateParams"),
    *_reads(f"{_I}/tokens", tokens.TOKEN, monitor.v1_list(tokens.TOKEN, "card", "status")),
    _post(f"{_T}/authorizations", authorizations.create, "test_helpers.issuing.AuthorizationCreateParams"),
    _post(f"{_T}/authorizations/{{id}}/capture", captures.capture, "test_helpers.issuing.AuthorizationCaptureParams"),
    _post(f"{_T}/authorizations/{{id}}/reverse", captures.reverse, "test_helpers.issuing.AuthorizationReverseParams"),
    _post(f"{_T}/authorizations/{{id}}/expire", captures.expire, "test_helpers.issuing.AuthorizationExpireParams"),
    _post(
        f"{_T}/authorizations/{{id}}/increment",
        authorizations.increment,
        "test_helpers.issuing.AuthorizationIncrementParams",
    ),
    _post(f"{_T}/transactions/{{id}}/refund", captures.refund, "test_helpers.issuing.TransactionRefundParams"),
    _post(
        f"{_T}/transactions/create_force_capture",
        captures.force,
        "test_helpers.issuing.TransactionCreateForceCaptureParams",
    ),
    _post(f"{_T}/disputes/{{id}}/close", disputes.close, "test_helpers.issuing.DisputeCloseParams"),
    *[_post(f"{_T}/cards/{{id}}/shipping/{step}", shipping.move) for step in shipping.STEPS],
]

ROUTES = [*CORE, *MONEY, *ISSUING]
