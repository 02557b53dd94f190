"""Signatures: the reference vector, each way to be wrong, and never an exception."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.stripe.signature import Refused, Verified, sign, verify

T = 1_767_225_600
BODY = b'{"id":"evt_1"}'
DEMO = b"whsec_demo"
VECTOR = b"306e6eba924ab0830d5deec674d1b9db1852311c81c85adf8f616b2ded091a43"


def refused(
    header: bytes | None, body: bytes = BODY, *, now: float = T, secrets: tuple[bytes, ...] = (DEMO,)
) -> Refused:
    outcome = verify(header, body, secrets, now)
    assert isinstance(outcome, Refused)
    return outcome


def test_the_reference_vector_of_the_facts_verifies() -> None:
    assert verify(b"t=%d,v1=%s" % (T, VECTOR), BODY, [DEMO], T) == Verified(T, 0)
    assert sign(BODY, DEMO, T) == b"t=%d,v1=%s" % (T, VECTOR)


@pytest.mark.parametrize(
    "header",
    [
        b"t=%d, v1=%s" % (T, VECTOR),
        b"t=%d,v1=%s,v1=%s,v0=00" % (T, b"0" * 64, VECTOR),
        b"v0=00,t=%d,t=5,v1=%s" % (T, VECTOR),
        b"t=%d,v1=\xff\xe9,v1=%s" % (T, VECTOR),
    ],
    ids=["space after comma", "second v1 and a v0", "the first t wins", "non-ASCII v1"],
)
def test_odd_but_true_headers_verify(header: bytes) -> None:
    assert isinstance(verify(header, BODY, [DEMO], T), Verified)


def test_each_of_several_secrets_is_valid() -> None:
    assert verify(sign(BODY, b"whsec_new", T), BODY, [DEMO, b"whsec_new"], T) == Verified(T, 1)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "signature_missing"),
        (b"", "signature_missing"),
        (b"nonsense", "signature_malformed"),
        (b"t=abc,v1=00", "signature_malformed"),
        (b"t=" + b"9" * 5000 + b",v1=00", "signature_malformed"),
        (b"t=%d" % T, "signature_scheme"),
        (b"t=%d,v0=%s" % (T, VECTOR), "signature_scheme"),
        (b"t=%d,v1=%s" % (T, b"0" * 64), "signature_mismatch"),
        (b"t=%d,v1=\xc3\xa9" % T, "signature_mismatch"),
        (b"t=%d,v1=%s" % (T, VECTOR.upper()), "signature_mismatch"),
    ],
)
def test_each_bad_header_has_its_code(header: bytes | None, code: str) -> None:
    assert refused(header).code == code


def test_only_v0_is_said() -> None:
    assert refused(b"t=%d,v0=00" % T).detail["only_v0"] is True


@pytest.mark.parametrize(("age", "code"), [(301, "signature_stale"), (-301, "signature_future")])
def test_beyond_the_tolerance_either_way_is_refused_with_the_skew(age: int, code: str) -> None:
    outcome = refused(sign(BODY, DEMO, T), now=T + age)
    assert (outcome.code, outcome.detail["skew_s"]) == (code, -age)


@pytest.mark.parametrize("age", [300, -300, 0])
def test_within_the_tolerance_is_accepted(age: int) -> None:
    assert isinstance(verify(sign(BODY, DEMO, T), BODY, [DEMO], T + age), Verified)


def test_a_wrong_secret_and_a_reserialised_body_are_told_apart() -> None:
    sent = json.dumps({"id": "evt_1", "name": "é"}, indent=2, ensure_ascii=False).encode()
    header = sign(sent, DEMO, T)
    rewritten = json.dumps(json.loads(sent)).encode()
    assert refused(header, rewritten).detail["cause"] == "reserialised"
    assert refused(header, rewritten, secrets=(b"whsec_other",)).detail["cause"] == "wrong_secret"
    assert refused(header, sent + b" x").detail["cause"] == "wrong_secret"


def test_an_empty_secret_proves_nothing() -> None:
    assert refused(sign(BODY, b"", T), secrets=(b"",)).code == "signature_mismatch"
    assert refused(sign(BODY, DEMO, T), secrets=()).code == "signature_mismatch"


@given(header=st.binary() | st.builds(lambda v: b"t=%d,v1=" % T + v, st.binary()), body=st.binary())
def test_no_bytes_raise_or_verify(header: bytes, body: bytes) -> None:
    assert isinstance(verify(header, body, [DEMO], T), Refused)
