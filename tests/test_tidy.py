"""The tree stays small, portable and true to its word: rules that no linter knows."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.web.api.enrollments import EnrollmentRequest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
LEFT_OUT = frozenset(
    {".git", ".venv", ".cardrail", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    | {".import_linter_cache", "node_modules", "build", "dist", "test-results"}
)
# Written in parts, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    "|".join([r"(?<![\w.])/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/", r"\.\./sha" + "red"])
)
REGISTRIES = re.compile(
    "|".join(["py" + r"pi\.org", "python" + "hosted", "--(extra-)?index-" + "url", "--find-" + "links"])
)
SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:\s*no cover)\b(?P<rest>.*)")
REASONED = re.compile(r"^(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|\[[a-z-]+(,\s*[a-z-]+)*\])\s+(#|-)\s*\S+")


def tree() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        if path.is_file() and not LEFT_OUT.intersection(path.relative_to(ROOT).parts):
            yield path


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tree():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def named(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_no_file_is_too_long_to_hold_in_mind() -> None:
    lengths = {named(path, 1): len(path.read_text().splitlines()) for path in sources("app", "tests", "migrations")}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_no_function_is_too_long_to_hold_in_mind() -> None:
    long = [
        f"{named(path, node.lineno)} {node.name}"
        for path in sources("app")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_nothing_names_a_path_of_one_machine() -> None:
    found = [
        named(path, number)
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_registry_and_hashes_every_package(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not REGISTRIES.search(text)
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_locks_agree_and_hold_every_direct_dependency() -> None:
    pins = {lock: _pins(ROOT / lock) for lock in ("requirements.lock", "requirements-dev.lock")}
    assert pins["requirements.lock"].items() <= pins["requirements-dev.lock"].items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {_name(wanted) for wanted in project["dependencies"]} <= pins["requirements.lock"].keys()
    assert {_name(wanted) for wanted in project["optional-dependencies"]["dev"]} <= pins["requirements-dev.lock"].keys()


def _pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(), flags=re.MULTILINE))


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~;\s]", requirement, maxsplit=1)[0]


def test_every_suppression_says_what_and_why() -> None:
    found = [
        named(path, number)
        for path in sources("app", "tests", "migrations")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (mark := SUPPRESSION.search(line)) and path != Path(__file__) and not REASONED.match(mark["rest"])
    ]
    assert found == []


def test_every_module_of_app_has_its_place_in_the_layers() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["id"] == "layers")
    placed = set(re.findall(r"\w+", " ".join(layers["layers"]))) | set(layers["exhaustive_ignores"])
    present = {path.stem for path in (ROOT / "app").iterdir() if path.suffix == ".py"}
    present |= {path.parent.name for path in (ROOT / "app").glob("*/__init__.py")}
    assert present - {"__init__"} <= placed


def test_machines_touch_nothing_but_the_standard_library_and_msgspec() -> None:
    outside = {
        "os",
        "sys",
        "io",
        "pathlib",
        "time",
        "random",
        "secrets",
        "uuid",
        "socket",
        "asyncio",
        "threading",
        "logging",
    }
    allowed = {"app", "msgspec"} | (sys.stdlib_module_names - outside)
    found = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in sources("app/machines")
        for module in _imports(path)
        if module.split(".")[0] not in allowed
    ]
    assert found == []


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_only_the_store_and_the_migrations_know_the_tables() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in sources("app")
        if path.relative_to(ROOT).parts[1] != "store"
        and re.search(r"app\.store(\.tables| import .*\btables\b)", path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_every_setting_is_used(field: str) -> None:
    behind = {
        "stripe_api_base": "api_base",
        "public_url": "base_url",
        "authorization_secrets": "valid_authorization_secrets",
    }
    use = re.compile(rf"\.({field}|{behind.get(field, field)})\b")
    assert any(use.search(path.read_text()) for path in sources("app") if path.name != "config.py")


def test_the_readme_documents_every_setting() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = [f"| `{field.alias}` | {field.description} |" for field in Settings.model_fields.values()]
    assert [row for row in rows if row not in readme] == []


def test_the_readmes_enrollment_can_be_sent() -> None:
    (body,) = re.findall(r"<<'END'\n(.*?)^END$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert EnrollmentRequest.model_validate_json(body).cardholder is not None
