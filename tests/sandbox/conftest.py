"""A real sandbox on a free port in a thread of its own, and a receiver of webhooks beside it."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import stripe
import uvicorn

from app.sandbox import SandboxSettings, create_app
from tests.patience import PATIENCE_S

NEW = "2026-10-14.preview"
OLD = "2026-06-10.preview"
KEY = "sk_test_sandbox"
Json = dict[str, Any]
STOPPING: list[threading.Thread] = []


class Box:
    """A running sandbox and the ways to talk to it."""

    def __init__(self, settings: SandboxSettings) -> None:
        config = uvicorn.Config(create_app(settings), port=0, log_level="warning", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.005)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE_S)
        self.stripe = stripe.StripeClient(KEY, base_addresses={"api": self.url}, max_network_retries=0)

    def stop(self) -> None:
        self.http.close()
        self._server.should_exit = True
        STOPPING.append(self._thread)

    def call(self, method: str, path: str, body: Json | None = None, **headers: str) -> httpx.Response:
        """A raw request; header names with underscores."""
        named = {"Authorization": f"Bearer {KEY}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if path.startswith("/v2/"):
            named.setdefault("Stripe-Version", NEW)
            return self.http.request(method, path, json=body, headers=named)
        return self.http.request(method, path, data=body, headers=named)

    def control(self, method: str, path: str, body: Json | None = None) -> Any:
        answer = self.http.request(method, f"/_sandbox/{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    def settle(self) -> None:
        assert self.control("GET", "idle?wait_s=60")["idle"]

    def account(self, tag: str = "") -> str:
        """A new account after its KYC."""
        answer = self.call("POST", "/v2/core/accounts", account_body(tag))
        assert answer.status_code == 200, answer.text
        self.settle()
        return str(answer.json()["id"])

    def wallet(self, account: str) -> str:
        """An open financial account."""
        body = {"type": "storage", "storage": {"holds_currencies": ["usdc"]}}
        answer = self.call("POST", "/v2/money_management/financial_accounts", body, Stripe_Context=account)
        assert answer.status_code == 200, answer.text
        self.settle()
        return str(answer.json()["id"])

    def fund(self, account: str, wallet: str, value: int = 10_000) -> Json:
        body = {
            "from": {"financial_account": "fa_test_platform", "currency": "usd"},
            "to": {"recipient": account, "payout_method": wallet, "currency": "usdc"},
            "amount": {"value": value, "currency": "usd"},
        }
        answer = self.call("POST", "/v2/money_management/outbound_payments", body)
        assert answer.status_code == 200, answer.text
        self.settle()
        return dict(self.call("GET", f"/v2/money_management/outbound_payments/{answer.json()['id']}").json())

    def card(self, account: str, wallet: str, **more: str) -> str:
        holder = self.call("POST", "/v1/issuing/cardholders", HOLDER, Stripe_Account=account)
        assert holder.status_code == 200, holder.text
        body = {"currency": "usd", "type": "virtual", "status": "active", "cardholder": holder.json()["id"]}
        body |= {"financial_account_v2": wallet, **more}
        card = self.call("POST", "/v1/issuing/cards", body, Stripe_Account=account)
        assert card.status_code == 200, card.text
        return str(card.json()["id"])

    def spender(self, value: int = 10_000) -> tuple[str, str, str]:
        """(account, wallet, card), funded."""
        account = self.account()
        wallet = self.wallet(account)
        self.fund(account, wallet, value)
        return account, wallet, self.card(account, wallet)

    def balance(self, account: str, wallet: str) -> dict[str, int]:
        found = self.call("GET", f"/v2/money_management/financial_accounts/{wallet}", Stripe_Context=account).json()
        return {part: amounts.get("usdc", {}).get("value", 0) for part, amounts in found["balance"].items()}


HOLDER = {
    "name": "Ana Demo",
    "email": "ana@example.com",
    "type": "individual",
    "individual[first_name]": "Ana",
    "individual[last_name]": "Demo",
    "individual[dob][day]": "1",
    "individual[dob][month]": "2",
    "individual[dob][year]": "1990",
    "individual[user_terms_acceptance][lead][date]": "1790000000",
    "individual[user_terms_acceptance][lead][ip]": "192.0.2.1",
    "billing[address][line1]": "Calle 1",
    "billing[address][city]": "Cancun",
    "billing[address][country]": "MX",
    "billing[address][postal_code]": "77500",
}


def account_body(tag: str = "", *, old: bool = False) -> Json:
    on = {"requested": True}
    storage = (
        {"holds_currencies": {"usdc": on}}
        if old
        else {"business_storage": {"inbound": {"usdc": on}, "outbound": {"usdc": on}}}
    )
    name = "storer" if old else "money_manager"
    return {
        "contact_email": f"owner{tag}@example.com",
        "display_name": "Taller Demo",
        "dashboard": "none",
        "identity": {"country": "mx", "entity_type": "individual"},
        "configuration": {
            name: {"capabilities": {**storage, "outbound_transfers": {"crypto_wallets": on, "bank_accounts": on}}},
            "card_creator": {"capabilities": {"commercial": {"lead": {"prepaid_card": on}}}},
        },
        "defaults": {
            "currency": "usdc",
            "responsibilities": {"fees_collector": "application", "losses_collector": "application"},
        },
        "include": [f"configuration.{name}", "configuration.card_creator"],
    }


@dataclass
class Receiver:
    """Keeps (path, headers, body); ``answers`` are given first, then 200 with ``decision``."""

    url: str = ""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    decision: Json = field(default_factory=lambda: {"approved": True})
    release: threading.Event | None = None

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append((self.path, dict(self.headers.items()), body))
            if state.release is not None:
                state.release.wait(5)
            content = json.dumps(state.decision).encode()
            self.send_response(state.answers.pop(0) if state.answers else 200)
            self.send_header("Stripe-Version", NEW)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    if state.release is not None:
        state.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session", autouse=True)
def ended() -> Iterator[None]:
    """Servers take a tick to end: nobody waits for it before the last test is over."""
    yield
    for thread in STOPPING:
        thread.join(5)


@pytest.fixture
def started() -> Iterator[Callable[..., Box]]:
    """Starts sandboxes with settings of the test's own."""
    boxes: list[Box] = []

    def start(**settings: Any) -> Box:
        box = Box(SandboxSettings(**{"seed": 1, "step_delay_s": 0.01, "webhook_retry_s": 0.01, **settings}))
        boxes.append(box)
        return box

    yield start
    for box in boxes:
        box.stop()


@pytest.fixture
def box(started: Callable[..., Box]) -> Box:
    return started()
