"""Prometheus metrics: every number the service counts about itself, declared once.

The rule it enforces: label values are bounded. Event types come from outside, so only the first few hundred distinct
ones get a label of their own; the rest counts as ``other``.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Protocol

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest, start_http_server
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

TYPE_LABELS_MAX = 400
UNKNOWN_LABELS_MAX = 50
TYPE_LABEL_LENGTH_MAX = 120
CONTENT_TYPE = CONTENT_TYPE_LATEST

_ACK_BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0)
_LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)

_received = Counter("cardrail_events_received", "Deliveries at the door, by type and result", ["type", "result"])
_rejected = Counter("cardrail_rejections", "Deliveries refused at the door, by code", ["code"])
_backlog = Gauge("cardrail_backlog_age_seconds", "Age of the oldest event that is not applied yet")
_pending = Gauge("cardrail_backlog_events", "Events that are not applied yet")
_lag = Histogram("cardrail_apply_lag_seconds", "From received to applied", buckets=_LAG_BUCKETS)
_commands = Counter("cardrail_commands", "Calls to Stripe, by kind and outcome", ["kind", "outcome"])
_parked = Counter("cardrail_parked", "Things parked for a human, by what and why", ["what", "code"])
_parked_now = Gauge("cardrail_parked_now", "Things that wait for a human", ["what"])
_notices = Counter("cardrail_notices", "Attempts to tell subscribers, by outcome", ["outcome"])
_streams = Gauge("cardrail_streams", "Open streams of journal lines")
_stream_lag = Gauge("cardrail_stream_lag_seconds", "How long the oldest line waits for an older open transaction")
_parked_age = Gauge("cardrail_parked_age_seconds", "For how long the oldest parked thing has waited", ["what"])
_commands_age = Gauge(
    "cardrail_commands_backlog_age_seconds", "For how long the oldest command has been due that nothing keeps back"
)
_commands_due = Gauge(
    "cardrail_commands_backlog", "Commands that are due, and that neither a hold nor a brake keeps back"
)
_heartbeat_age = Gauge("cardrail_worker_heartbeat_age_seconds", "Since any worker was last heard of; -1: never")
_complete_until = Gauge(
    "cardrail_complete_until_timestamp_seconds", "No event of Stripe is missing up to then; 0: not known yet"
)
_brakes = Gauge(
    "cardrail_brake_on", "1 while a step stands still; set_by: cardrail (by itself) or person", ["step", "set_by"]
)
_health_alerts = Gauge("cardrail_health_alerts_open", "Health alerts of Stripe that are open", ["alarm", "severity"])
_unknown = Counter("cardrail_unknown_events", "Events kept but not understood, by type", ["type"])

_balance = Gauge(
    "cardrail_platform_balance", "Available on the platform's financial account, minor units", ["currency"]
)
_low = Gauge("cardrail_platform_balance_low", "1 while the platform holds less US dollars than the programme wants")
_waiting = Gauge("cardrail_funding_waiting", "Fundings that have not reached Stripe", ["why"])
_negative = Gauge("cardrail_negative_balances", "Accounts whose balance is negative, as last read")

_silent = Gauge("cardrail_subscriptions_silent", "Subscriptions that should hear and do not: failing or disabled")
_role = Gauge("cardrail_process", "1; role: server or worker", ["role"])
_read_age = Gauge(
    "cardrail_database_read_age_seconds",
    "Since the numbers of the database were last read here; while it grows they stand still",
)

_unknown_types: set[str] = set()
_types: set[str] = set()
_received_by: dict[tuple[str, str], Counter] = {}


def received(event_type: str, result: str) -> None:
    """Count one delivery; ``result`` is new, duplicate, ignored, decided, refused or unavailable."""
    try:
        _received_by[event_type, result].inc()
    except KeyError:
        label = _type_label(event_type, _types, TYPE_LABELS_MAX)
        child = _received.labels(label, result)
        if label == event_type:
            _received_by[event_type, result] = child
        child.inc()


def unknown(event_type: str) -> None:
    """Count one event of a type that the catalogue lacks."""
    _unknown.labels(_type_label(event_type, _unknown_types, UNKNOWN_LABELS_MAX)).inc()


def _type_label(event_type: str, known: set[str], labels_max: int) -> str:
    if event_type in known:
        return event_type
    if len(known) >= labels_max or len(event_type) > TYPE_LABEL_LENGTH_MAX:
        return "other"
    known.add(event_type)
    return event_type


class _Ack(Collector):
    """A histogram without a lock: the door observes from one thread, ten thousand times a second."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_ACK_BUCKETS) + 1)
        self.sum_s = 0.0

    def observe(self, took_s: float) -> None:
        self.counts[bisect_left(_ACK_BUCKETS, took_s)] += 1
        self.sum_s += took_s

    def collect(self) -> Iterator[HistogramMetricFamily]:
        edges = [*(str(edge) for edge in _ACK_BUCKETS), "+Inf"]
        buckets = list(zip(edges, accumulate(self.counts), strict=True))
        help_text = "From the whole body read to the answer decided"
        yield HistogramMetricFamily("cardrail_ack_seconds", help_text, buckets=buckets, sum_value=self.sum_s)


_ack = _Ack()
REGISTRY.register(_ack)


def ack(took_s: float) -> None:
    """Observe how long one stored delivery took, in seconds."""
    _ack.observe(took_s)


def rejected(code: str) -> None:
    """Count one delivery refused at the door; codes are ours and few."""
    _rejected.labels(code).inc()


def backlog(oldest_s: float, events: int) -> None:
    """Set the age of the oldest due event in seconds (0 without any) and how many there are."""
    _backlog.set(oldest_s)
    _pending.set(events)


def apply_lag(lag_s: float) -> None:
    """Observe the time from received to applied of one event, in seconds."""
    _lag.observe(lag_s)


def command(kind: str, outcome: str) -> None:
    """Count one call to Stripe; ``outcome`` is settled, tryagain, rejected, unknown or parked."""
    _commands.labels(kind, outcome).inc()


def parked(what: str, code: str) -> None:
    """Count one thing being parked; ``what`` is event or command."""
    _parked.labels(what, code).inc()


def parked_now(what: str, count: int, oldest_s: float) -> None:
    """Set how many things of one sort wait for a human now, and for how many seconds the oldest has."""
    _parked_now.labels(what).set(count)
    _parked_age.labels(what).set(oldest_s)


def commands_backlog(oldest_s: float, commands: int) -> None:
    """Set for how many seconds the oldest due command has been due (0 without any) and how many there are."""
    _commands_age.set(oldest_s)
    _commands_due.set(commands)


def heartbeat(age_s: float | None) -> None:
    """Set the seconds since any worker was last heard of; None: never."""
    _heartbeat_age.set(-1 if age_s is None else age_s)


def complete_until(timestamp_s: float | None) -> None:
    """Set up to when nothing is missing, unix seconds; None: not known yet."""
    _complete_until.set(timestamp_s or 0)


def silent_subscriptions(count: int) -> None:
    """Set how many subscriptions have heard nothing for long, and should."""
    _silent.set(count)


def role(name: str) -> None:
    """Say what this process is: server or worker."""
    _role.labels(name).set(1)


def database_read_age(age_s: Callable[[], float]) -> None:
    """Ask ``age_s`` at each look for how many seconds the numbers of the database have stood still."""
    _read_age.set_function(age_s)


def brakes(standing: Iterable[tuple[str, str]]) -> None:
    """Set the brakes that are on: step and who set it."""
    _brakes.clear()
    for step, by in standing:
        _brakes.labels(step, "cardrail" if by == "cardrail" else "person").set(1)


class Money(Protocol):
    """What ``store.gauges.money`` tells."""

    @property
    def available(self) -> Mapping[str, int]: ...
    @property
    def waiting(self) -> int: ...
    @property
    def waiting_for_balance(self) -> int: ...
    @property
    def negative(self) -> int: ...


def money(found: Money, low_cents: int) -> None:
    """Set the gauges of money; a platform whose balance was never read is not called low."""
    for currency, value in found.available.items():
        _balance.labels(currency).set(value)
    _low.set("usd" in found.available and found.available["usd"] < low_cents)
    _waiting.labels("balance").set(found.waiting_for_balance)
    _waiting.labels("other").set(found.waiting - found.waiting_for_balance)
    _negative.set(found.negative)


def health_alerts(standing: Mapping[tuple[str, str], int]) -> None:
    """Set how many of Stripe's health alerts are open, by alarm and severity."""
    _health_alerts.clear()
    for (alarm, severity), count in standing.items():
        _health_alerts.labels(alarm, severity).set(count)


def render() -> bytes:
    """All metrics in Prometheus' text form."""
    return generate_latest(REGISTRY)


def serve(host: str, port: int) -> None:
    """Serve /metrics of this process alone, from a thread of the library's; for processes that have no web server."""
    start_http_server(port, addr=host, registry=REGISTRY)


def streams(count: int) -> None:
    """Set how many streams are open in this process."""
    _streams.set(count)


def stream_lag(lag_s: float) -> None:
    """Set for how long a committed line has waited for an older transaction, in seconds."""
    _stream_lag.set(lag_s)


def notice(outcome: str) -> None:
    """Count one attempt to tell a subscriber: delivered, again (it will be tried again) or failed."""
    _notices.labels(outcome).inc()
