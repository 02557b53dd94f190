"""The command line: what an engineer on call types. Commands talk to the database directly, so they work when the
service does not.
"""

import typer

from app.cli import (
    accounts,
    actions,
    authorizations,
    books,
    brakes,
    cards,
    checks,
    destinations,
    encryption,
    events,
    keys,
    ops,
    parked,
    service,
    simulate,
    subscriptions,
)


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="cardrail",
        help="Runs a stablecoin-backed card programme on Stripe.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for command in (service.serve, service.worker, service.run, service.demo):
        app.command()(command)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)(
        service.sandbox
    )
    app.command()(checks.migrate)
    app.command()(checks.config)
    app.command()(ops.doctor)
    app.command()(ops.backfill)
    app.command()(ops.reconcile)
    app.command()(books.books)
    app.command()(checks.machines)
    app.command()(checks.openapi)
    app.add_typer(keys.app, name="keys")
    app.add_typer(actions.app, name="actions")
    app.add_typer(accounts.app, name="accounts")
    app.add_typer(authorizations.app, name="authorizations")
    app.add_typer(simulate.app, name="simulate")
    app.add_typer(brakes.app, name="brakes")
    app.add_typer(cards.app, name="cards")
    app.add_typer(parked.app, name="parked")
    app.add_typer(destinations.app, name="destinations")
    app.add_typer(encryption.app, name="encryption")
    app.add_typer(events.events, name="events")
    app.add_typer(events.commands, name="commands")
    app.add_typer(events.replays, name="replays")
    app.add_typer(subscriptions.app, name="subscriptions")
    return app


def main() -> None:
    """Run the command line."""
    build()()
