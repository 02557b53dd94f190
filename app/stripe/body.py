r"""JSON bodies, read as the grammar allows: half of a surrogate pair (an emoji cut in two) costs a character, no event.

Strict readers refuse ``"\ud83d"`` alone, and a refused delivery is lost once Stripe stops sending it again. The bytes
that are kept stay as they came.
"""

import re
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def decoded(payload: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """What ``decoder`` makes of the body. Raises what it raises when the body is no JSON, or not of its shape."""
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        whole = _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], payload)
        if whole == payload:
            raise
        return decoder.decode(whole)
