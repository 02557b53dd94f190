"""The command line: what an engineer on call types. Commands talk to the database directly, so they work when the
service does not.
"""

from app.cli.commands import build

__all__ = ["build", "main"]


def main() -> None:
    """Run the command line."""
    build()()
