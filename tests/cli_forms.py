"""Whether a line is a command that the command line takes: parsed by the command line itself, never run."""

import shlex

import typer
from typer._click.core import Command, Context
from typer._click.exceptions import ClickException
from typer.core import TyperGroup

from app.cli import build


def refused(line: str) -> str | None:
    """Why ``cardrail ...`` is no command of ours; None when it parses down to its last argument."""
    program, *arguments = shlex.split(line)
    if program != "cardrail":
        return f"{program} is not cardrail"
    command: Command = typer.main.get_command(build())
    context: Context | None = None
    try:
        while True:
            context = command.make_context(command.name or "cardrail", arguments, parent=context)
            if not isinstance(command, TyperGroup):
                return None
            arguments = [*context._protected_args, *context.args]
            if not arguments:
                return None if command.invoke_without_command else f"{line}: which {command.name} command?"
            _, found, arguments = command.resolve_command(context, arguments)
            if found is None:
                return f"{line}: no such command"
            command = found
    except (ClickException, typer.Exit) as error:
        return f"{line}: {getattr(error, 'message', error)}"
