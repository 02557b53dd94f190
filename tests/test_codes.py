"""The table of problem codes is what the code does: none is raised that it lacks, none is listed that nothing raises."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from app.web.codes import CODES, markdown

ROOT = Path(__file__).resolve().parents[1]
KNOWN = {code.code for code in CODES}
ERRORS = "BadInput Unauthenticated Forbidden NotFound Conflict Unavailable RateLimited CardrailError ConfigError"
BY_PLACE = {
    "_field": ("app/ops/requests.py", 2),
    "_refused": ("app/flow/receivers.py", 0),
    "_refuse": ("app/web/webhooks.py", 0),
    "answer": ("app/web/", 1),
    "Refused": ("app/stripe/", 0),
}
"""Functions that are told the code by place, and where they are called."""


def said() -> Iterator[tuple[str, bool]]:
    """Every code in the source, and whether it is only the beginning of one (`account_{state}`)."""
    for path in sorted((ROOT / "app").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name.startswith("app/sandbox"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield from _of(node, name)


def _of(node: ast.AST, path: str) -> Iterator[tuple[str, bool]]:
    match node:
        case ast.AnnAssign(target=ast.Name("default_code"), value=ast.Constant(str(code))):
            yield code, False
        case ast.Assign(targets=[ast.Name("default_code")], value=ast.Constant(str(code))):
            yield code, False
        case ast.Assign(targets=[ast.Name("_CODES")], value=ast.Dict(values=values)):
            yield from ((v.value, False) for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str))
        case ast.Call(func=ast.Name(maker) | ast.Attribute(attr=maker), args=args, keywords=keywords):
            folder, place = BY_PLACE.get(str(maker), ("nowhere", 0))
            if maker in ERRORS.split():
                yield from _told(next((k.value for k in keywords if k.arg == "code"), None))
            elif path.startswith(folder) and len(args) > place:
                yield from _told(args[place])


def _told(value: ast.expr | None) -> Iterator[tuple[str, bool]]:
    match value:
        case ast.Constant(str(code)) if re.fullmatch(r"[a-z0-9_]+", code):
            yield code, False
        case ast.JoinedStr(values=[ast.Constant(str(start)), *_]):
            yield start, True


def test_the_table_holds_every_code_that_is_raised_and_no_other() -> None:
    found = set(said())
    whole = {code for code, partly in found if not partly}
    starts = {code for code, partly in found if partly}
    assert whole - KNOWN == set()
    assert {start for start in starts if not any(code.startswith(start) for code in KNOWN)} == set()
    assert {code for code in KNOWN - whole if not code.startswith(tuple(starts))} == set()


def test_the_list_in_the_docs_is_the_table() -> None:
    assert (ROOT / "docs" / "problems.md").read_text(encoding="utf-8") == markdown()


def test_a_code_is_listed_once() -> None:
    assert len(KNOWN) == len(CODES)
