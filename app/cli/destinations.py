"""`cardrail destinations`: what Stripe sends where, and creating what is missing."""

from typing import Annotated, Any

import typer

from app.cli.desk import AsJson, WhyOption, Yes, err, out, show_json, show_rows
from app.cli.ops import run, who
from app.ops import destinations
from app.wiring import Services

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def every(as_json: AsJson = False) -> None:
    """The event destinations, and webhook endpoints of v1: style, scopes, how many types, where they post to."""

    async def work(services: Services) -> list[dict[str, Any]]:
        return await destinations.listed(services)

    columns = ["id", "api", "status", "style", "scopes", "types", "api_version", "url"]
    show_rows(run(work, as_json=as_json), columns, as_json=as_json)


@app.command()
def ensure(
    url: Annotated[
        str | None,
        typer.Option(help="Where Stripe shall post to; absent: CARDRAIL_PUBLIC_URL, else where it posts now."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is missing (so without --yes too).")
    ] = False,
    reason: WhyOption = "everything we follow must reach us",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Create what is missing so that everything we follow reaches us; done twice it does nothing the second time.

    The signing secret of each new destination is shown once and never again.
    """
    doing = yes and not dry_run

    async def work(services: Services) -> dict[str, Any]:
        return await destinations.ensure(services, who(reason), url=url, yes=doing)

    made = run(work, as_json=as_json)
    if as_json:
        show_json(made)
    else:
        if made["steps"]:
            show_rows(made["steps"], ["action", "style", "scope", "id", "missing"], as_json=False)
        elif not made["failed"]:
            out.print(f"Nothing is missing: all that we follow reaches {made['url']}", highlight=False, soft_wrap=True)
        for line in made["failed"]:
            err.print(line, style="red", markup=False, highlight=False)
        if made["secrets"]:
            out.print(destinations.advice(made["secrets"]), markup=False, highlight=False, soft_wrap=True)
        elif made["steps"] and not doing:
            out.print(f"Nothing was done: add --yes to do it. Stripe would post to {made['url']}", highlight=False)
    raise typer.Exit(1 if made["failed"] else 0)
