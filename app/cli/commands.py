"""The list of commands, and where each one is. A command's module is loaded when that command is typed, and no other:
whoever types it is in a hurry, and most of the service is not needed for most commands.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer._click.core import Command, Context
from typer._click.exceptions import ClickException
from typer._click.formatting import HelpFormatter
from typer.core import TyperCommand, TyperGroup


class Place(NamedTuple):
    """``name`` in ``app.cli.<module>`` is a function or a group; ``says`` is its help, of a function the first line."""

    module: str
    name: str
    says: str
    options: dict[str, Any] = {}  # noqa: RUF012 - read only, as the tuple around it


PASSED_ON = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
    "add_help_option": False,
}
"""The sandbox reads its own arguments."""

COMMANDS = {
    "serve": Place("service", "serve", "Receiver, API and one in-process worker, until Ctrl-C."),
    "worker": Place("service", "worker", "One more worker, until Ctrl-C. Any number may run, on any machine."),
    "run": Place(
        "service",
        "run",
        "Service, worker and, without a Stripe key, the sandbox, until Ctrl-C; prints the URLs and an API key.",
    ),
    "demo": Place("service", "demo", "Take a fleet of accounts through the whole guide against the sandbox."),
    "sandbox": Place(
        "service",
        "sandbox",
        "A small Stripe that remembers. Options as in `python -m app.sandbox --help`.",
        PASSED_ON,
    ),
    "migrate": Place("migrations", "migrate", "Bring the database to this version's schema."),
    "config": Place("checks", "config", "Every setting, its meaning, and what it is now. Secrets are masked."),
    "doctor": Place(
        "ops", "doctor", "Look for what is wrong, and say what would help; exit 1 when something is wrong."
    ),
    "backfill": Place("ops", "backfill", "Read events from Stripe that did not reach us."),
    "reconcile": Place(
        "ops", "reconcile", "Read live objects from Stripe and compare; with --yes tell the log what differs."
    ),
    "books": Place(
        "books",
        "books",
        "What came in, went out and is left per day, beside Stripe's balance; exit 1 when they differ.",
    ),
    "machines": Place(
        "checks", "machines", "The machines: states and legal moves of the account and of every kind of object."
    ),
    "openapi": Place("checks", "openapi", "The API's description (OpenAPI 3.1), and the list of its problem codes."),
    "keys": Place("keys", "app", "API keys: create, list, revoke."),
    "actions": Place("actions", "app", "The audit: who did what, and why."),
    "accounts": Place(
        "accounts", "app", "Accounts: list, show, explain, journal, hold, release, adopt, retry, rebuild."
    ),
    "authorizations": Place("authorizations", "app", "Authorizations: list, show, try."),
    "simulate": Place("simulate", "app", "Play the merchant, against the sandbox only: purchase."),
    "brakes": Place("brakes", "app", "Brakes: list, set, release."),
    "cards": Place("cards", "app", "Cards: list, show, freeze, thaw, cancel."),
    "parked": Place("parked", "app", "Parked events and commands: list, retry, ignore, discard."),
    "destinations": Place("destinations", "app", "Event destinations at Stripe: list, ensure."),
    "encryption": Place("encryption", "app", "Keys that protect personal data: status, rotate, rewrite."),
    "retention": Place("retention", "app", "What is old enough to go: status, run."),
    "events": Place("events", "events", "Events: list, show, replay, ignore."),
    "commands": Place("events", "commands", "Commands: list, show, retry, discard."),
    "replays": Place("events", "replays", "Bulk replays: start, list, show, confirm, stop."),
    "subscriptions": Place(
        "subscriptions", "app", "Subscriptions to notices: list, create, test, deliveries, replay, enable, delete."
    ),
}


class Commands(TyperGroup):
    """The top of the command line. Its own ``commands`` hold names and first lines only, for the list in the help."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{**given, "commands": _named()})
        self._as_json = False

    def make_context(
        self, info_name: str | None, args: list[str], parent: Context | None = None, **more: Any
    ) -> Context:
        """As ever, and remembers whether JSON is asked for: then wrong usage is told in JSON as well."""
        self._as_json = "--json" in args
        with self._usage():
            return super().make_context(info_name, args, parent, **more)

    def invoke(self, ctx: Context) -> Any:
        """Run what was typed."""
        with self._usage():
            return super().invoke(ctx)

    @contextmanager
    def _usage(self) -> Iterator[None]:
        try:
            yield
        except ClickException as error:
            if self._as_json:
                told = {"error": {"code": "wrong_usage", "message": error.format_message()}}
                sys.stdout.write(json.dumps(told, indent=2) + "\n")
            raise

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002 - as Typer calls it
        """The command itself, its module loaded."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """As of a group that has what the list says of each, so that nothing is loaded."""
        listed = TyperGroup(name=self.name, help=self.help, params=self.params, commands=_named())
        listed.format_help(ctx, formatter)


def _named() -> dict[str, Command]:
    return {name: TyperCommand(name, help=place.says) for name, place in COMMANDS.items()}


def load(name: str) -> Command:
    """The command or group of this name, as Typer makes it."""
    place = COMMANDS[name]
    found = getattr(import_module(f"app.cli.{place.module}"), place.name)
    if isinstance(found, typer.Typer):
        made: Command = typer.main.get_group(found)
        made.help = place.says
    else:
        alone = typer.Typer(add_completion=False)
        alone.command(name, **place.options)(found)
        made = typer.main.get_command(alone)
    made.name = name
    return made


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="cardrail",
        cls=Commands,
        help="Runs a stablecoin-backed card programme on Stripe.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(lambda: None)
    return app
