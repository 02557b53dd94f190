"""Every call of the API that this world knows: method, path, handler, and the SDK type its body is held to."""

from app.sandbox import (
    accounts,
    addresses,
    authorizations,
    books,
    classic_endpoints,
    conversions,
    event_api,
    financial_accounts,
    incoming,
    monitor,
    outbound,
    payout_methods,
    persons,
    settlement,
)
from app.sandbox.calls import Route
from app.sandbox.issuing_routes import ISSUING
from app.sandbox.routing import post, reads
from app.sandbox.vocabulary import account_in

MM = "/v2/money_management"
_MM = "v2.money_management."


CORE = [
    Route("GET", "/v1/account", accounts.own),
    Route("GET", "/v1/events", event_api.list_v1),
    Route("GET", "/v1/events/{id}", event_api.retrieve_v1),
    post("/v2/core/accounts", accounts.create, "v2.core.AccountCreateParams", prepare=account_in),
    Route("GET", "/v2/core/accounts", accounts.everything),
    Route("GET", "/v2/core/accounts/{id}", accounts.retrieve),
    post("/v2/core/accounts/{id}", accounts.update, "v2.core.AccountUpdateParams", prepare=account_in),
    post("/v2/core/accounts/{id}/close", accounts.close),
    post("/v2/core/accounts/{id}/persons", persons.create_person),
    Route("GET", "/v2/core/accounts/{id}/persons", persons.persons),
    Route("GET", "/v2/core/accounts/{id}/persons/{pid}", persons.retrieve_person),
    post("/v2/core/accounts/{id}/persons/{pid}", persons.update_person),
    Route("DELETE", "/v2/core/accounts/{id}/persons/{pid}", persons.delete_person),
    post("/v2/core/account_links", persons.create_link, "v2.core.AccountLinkCreateParams"),
    Route("GET", "/v2/core/events", event_api.list_v2),
    Route("GET", "/v2/core/events/{id}", event_api.retrieve_v2),
    post("/v1/webhook_endpoints", classic_endpoints.create, "WebhookEndpointCreateParams"),
    post("/v1/webhook_endpoints/{id}", classic_endpoints.update),
    *reads("/v1/webhook_endpoints", classic_endpoints.KIND, classic_endpoints.everything),
    post("/v2/core/event_destinations", event_api.create, "v2.core.EventDestinationCreateParams"),
    post("/v2/core/event_destinations/{id}", event_api.update, "v2.core.EventDestinationUpdateParams"),
    *reads("/v2/core/event_destinations", event_api.KIND, event_api.everything),
    post("/v2/core/event_destinations/{id}/ping", event_api.ping),
    post("/v2/core/event_destinations/{id}/enable", event_api.switch),
    post("/v2/core/event_destinations/{id}/disable", event_api.switch),
]

MONEY = [
    post(f"{MM}/financial_accounts", financial_accounts.create, _MM + "FinancialAccountCreateParams"),
    Route("GET", f"{MM}/financial_accounts", financial_accounts.everything),
    Route("GET", f"{MM}/financial_accounts/{{id}}", financial_accounts.retrieve),
    post(f"{MM}/financial_accounts/{{id}}", financial_accounts.update, _MM + "FinancialAccountUpdateParams"),
    post(f"{MM}/financial_accounts/{{id}}/close", financial_accounts.close, _MM + "FinancialAccountCloseParams"),
    post(
        f"{MM}/financial_addresses", addresses.create, _MM + "FinancialAddressCreateParams", prepare=addresses.prepare
    ),
    Route("GET", f"{MM}/financial_addresses", addresses.everything),
    Route("GET", f"{MM}/financial_addresses/{{id}}", addresses.retrieve),
    post(f"{MM}/test_helpers/financial_addresses/{{id}}/credit", addresses.credit),
    post("/v2/test_helpers/financial_addresses/{id}/credit", addresses.credit),
    post(f"{MM}/test_helpers/financial_addresses/{{id}}/debit", addresses.debit),
    post(f"{MM}/test_helpers/financial_addresses/{{id}}/generate_microdeposits", addresses.microdeposits),
    post(f"{MM}/inbound_transfers", incoming.create_pull, _MM + "InboundTransferCreateParams"),
    *reads(f"{MM}/inbound_transfers", incoming.PULL, monitor.v2_list(incoming.PULL)),
    *reads(f"{MM}/adjustments", incoming.ADJUSTMENT, monitor.v2_list(incoming.ADJUSTMENT)),
    post(f"{MM}/outbound_payments", outbound.create_payment, _MM + "OutboundPaymentCreateParams"),
    *reads(f"{MM}/outbound_payments", settlement.PAYMENT, outbound.lists(settlement.PAYMENT)),
    post(f"{MM}/outbound_payments/{{id}}/cancel", outbound.cancel),
    post(f"{MM}/outbound_transfers", outbound.create_transfer, _MM + "OutboundTransferCreateParams"),
    *reads(f"{MM}/outbound_transfers", settlement.TRANSFER, outbound.lists(settlement.TRANSFER)),
    post(f"{MM}/outbound_transfers/{{id}}/cancel", outbound.cancel),
    post(f"{MM}/outbound_setup_intents", payout_methods.create, _MM + "OutboundSetupIntentCreateParams"),
    *reads(f"{MM}/outbound_setup_intents", payout_methods.INTENT, payout_methods.intents),
    post(f"{MM}/outbound_setup_intents/{{id}}", payout_methods.update_intent, _MM + "OutboundSetupIntentUpdateParams"),
    post(f"{MM}/outbound_setup_intents/{{id}}/cancel", payout_methods.cancel_intent),
    *reads(f"{MM}/payout_methods", payout_methods.KIND, payout_methods.everything),
    post(f"{MM}/payout_methods/{{id}}/archive", payout_methods.archive),
    post(f"{MM}/payout_methods/{{id}}/unarchive", payout_methods.archive),
    post(f"{MM}/payout_methods/{{id}}/disable", payout_methods.disable),
    *reads(f"{MM}/received_credits", books.CREDIT, monitor.v2_list(books.CREDIT)),
    *reads(f"{MM}/received_debits", authorizations.DEBIT, monitor.v2_list(authorizations.DEBIT)),
    *reads(f"{MM}/transactions", books.TRANSACTION, monitor.v2_list(books.TRANSACTION, "financial_account", "flow")),
    post(f"{MM}/transactions/{{id}}", books.describe),
    *reads(f"{MM}/transaction_entries", books.ENTRY, monitor.v2_list(books.ENTRY, "transaction")),
    post(f"{MM}/currency_conversions", conversions.create, _MM + "CurrencyConversionCreateParams"),
    *reads(f"{MM}/currency_conversions", conversions.KIND, monitor.v2_list(conversions.KIND)),
]

ROUTES = [*CORE, *MONEY, *ISSUING]
