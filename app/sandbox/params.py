"""Requests held to the SDK's own parameter types: unknown keys, missing keys and wrong leaves are refused."""

import functools
import importlib
import sys
import typing
from collections.abc import Callable
from typing import Any, ForwardRef, Literal, Union

from stripe._request_options import RequestOptions
from stripe._stripe_object import UntypedStripeObject

from app.sandbox.errors import invalid

Check = Callable[[Any, str, frozenset[str], bool], None]
"""(value, dotted path, extra paths allowed, whether leaves are form strings) -> None, or raises ApiError."""

_OPTIONS = frozenset(RequestOptions.__annotations__)


@functools.cache
def params_type(name: str) -> Any:
    """``v2.money_management.OutboundPaymentCreateParams`` as the class in ``stripe.params``."""
    module, _, cls = name.rpartition(".")
    return getattr(importlib.import_module(f"stripe.params.{module}" if module else "stripe.params"), cls)


def validate(body: dict[str, Any], name: str, extras: frozenset[str], *, form: bool) -> None:
    """Raise ApiError 400 unless ``body`` has the shape of the named type. ``extras`` are dotted paths also allowed."""
    _typed_dict(params_type(name))(body, "", extras, form)


@functools.cache
def _typed_dict(cls: Any) -> Check:
    space = vars(sys.modules[cls.__module__])
    names = [key for key in cls.__annotations__ if key not in _OPTIONS]
    required = frozenset(cls.__required_keys__) & frozenset(names)
    fields: dict[str, Check] = {}

    def check(value: Any, path: str, extras: frozenset[str], form: bool) -> None:
        if not isinstance(value, dict):
            raise invalid(f"Invalid object: {path or 'body'}", param=path)
        for key, below in value.items():
            inner = f"{path}.{key}" if path else key
            if inner in extras:
                continue
            if key not in names:
                raise invalid(f"Received unknown parameter: {inner}", code="parameter_unknown", param=inner)
            if key not in fields:
                fields[key] = _compile(cls.__annotations__[key], space)
            if below is not None:
                fields[key](below, inner, extras, form)
        for key in required:
            if key not in value:
                inner = f"{path}.{key}" if path else key
                raise invalid(f"Missing required param: {inner}.", code="parameter_missing", param=inner)

    return check


def _compile(annotation: Any, space: dict[str, Any]) -> Check:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        annotation = eval(annotation, space)  # noqa: S307 - annotations of the installed SDK, never input
    if typing.is_typeddict(annotation) or hasattr(annotation, "__required_keys__"):
        return _typed_dict(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is not None and getattr(origin, "_name", "") in {"NotRequired", "Required"}:
        return _compile(args[0], space)
    if origin is Union or (origin is not None and getattr(origin, "__name__", "") == "UnionType"):
        return _any_of([_compile(arg, space) for arg in args])
    if origin is Literal:
        return _one_of(args)
    if origin is list:
        return _list_of(_compile(args[0], space))
    if origin in {dict, UntypedStripeObject} or annotation is UntypedStripeObject:
        return _mapping
    return _LEAVES.get(annotation, _anything)


def _any_of(checks: list[Check]) -> Check:
    def check(value: Any, path: str, extras: frozenset[str], form: bool) -> None:
        failure: Exception | None = None
        for one in checks:
            try:
                return one(value, path, extras, form)
            except Exception as error:  # noqa: BLE001 - the next alternative may fit; the deepest complaint is raised
                if failure is None or len(str(error)) > len(str(failure)):
                    failure = error
        assert failure is not None
        raise failure

    return check


def _one_of(choices: tuple[Any, ...]) -> Check:
    def check(value: Any, path: str, _extras: frozenset[str], _form: bool) -> None:
        if value not in choices:
            raise invalid(f"Invalid {path}: must be one of {', '.join(map(str, choices))}", param=path)

    return check


def _list_of(item: Check) -> Check:
    def check(value: Any, path: str, extras: frozenset[str], form: bool) -> None:
        if form and value == "":
            return  # the form's way to empty a list
        if not isinstance(value, list):
            raise invalid(f"Invalid array: {path}", param=path)
        for below in value:
            item(below, path, extras, form)

    return check


def _mapping(value: Any, path: str, _extras: frozenset[str], _form: bool) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Invalid hash: {path}", param=path)


def _anything(_value: Any, _path: str, _extras: frozenset[str], _form: bool) -> None:
    return


def _integer(value: Any, path: str, _extras: frozenset[str], form: bool) -> None:
    right = isinstance(value, str) and value.lstrip("-").isdigit() if form else type(value) is int
    if not right:
        raise invalid(f"Invalid integer: {path}", param=path)


def _string(value: Any, path: str, _extras: frozenset[str], _form: bool) -> None:
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {path}", param=path)


def _boolean(value: Any, path: str, _extras: frozenset[str], form: bool) -> None:
    right = value in ("true", "false") if form else type(value) is bool
    if not right:
        raise invalid(f"Invalid boolean: {path}", param=path)


_LEAVES: dict[Any, Check] = {int: _integer, str: _string, bool: _boolean}
