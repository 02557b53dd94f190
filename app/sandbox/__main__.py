"""``python -m app.sandbox``: serve, and print one JSON line with the URL when ready."""

import argparse
import dataclasses

from app.sandbox import SandboxSettings, run


def main() -> None:
    """Every plain setting is an option: ``--step-delay-s 0.01``."""
    parser = argparse.ArgumentParser(prog="python -m app.sandbox", description="A small Stripe that remembers.")
    plain = [f for f in dataclasses.fields(SandboxSettings) if isinstance(f.default, str | int | float | None)]
    for field in plain:
        kind = int if field.name == "seed" else str if field.default is None else type(field.default)
        flag = "--" + field.name.replace("_", "-")
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default)
        else:
            parser.add_argument(flag, type=kind, default=field.default)
    run(SandboxSettings(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
