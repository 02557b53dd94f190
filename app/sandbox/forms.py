"""Bracketed form and query encoding, as v1 bodies and all query strings use it."""

import re
from typing import Any
from urllib.parse import parse_qsl

_PARTS = re.compile(r"\[([^\]]*)\]")


def decode(text: str) -> dict[str, Any]:
    """``a[b]=1&c[]=x&d[0]=y`` as nested dicts and lists; all leaves are strings."""
    root: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        head, bracket, _ = key.partition("[")
        if not bracket:
            root[head] = value
            continue
        _put(root, [head, *_PARTS.findall(key)], value)
    return {name: _listed(value) for name, value in root.items()}


def _put(root: dict[str, Any], path: list[str], value: str) -> None:
    node = root
    for step in path[:-1]:
        below = node.setdefault(step, {})
        if not isinstance(below, dict):
            below = node[step] = {}
        node = below
    last = path[-1]
    node[str(len(node)) if last == "" else last] = value


def _listed(value: Any) -> Any:
    """Dicts whose keys count from zero are lists."""
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_listed(value[key]) for key in sorted(value, key=int)]
    return {key: _listed(below) for key, below in value.items()}
