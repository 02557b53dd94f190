"""Receivers of notices: no address of the inside is called, however it is written down."""

import pytest

from app.errors import BadInput
from app.flow import receivers
from app.flow.receivers import Allowed

NOTHING, EVERYTHING = Allowed(), Allowed(http=True, private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_called(address: str) -> None:
    assert receivers.callable_address(address, NOTHING)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",
        "::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "198.18.0.1",
        "240.0.0.1",
    ],
)
def test_an_address_of_the_inside_is_not_called(address: str) -> None:
    assert not receivers.callable_address(address, NOTHING)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1"],
)
def test_metadata_and_multicast_are_not_called_whatever_is_allowed(address: str) -> None:
    assert not receivers.callable_address(address, EVERYTHING)


def test_private_addresses_are_called_where_that_is_allowed() -> None:
    assert all(receivers.callable_address(a, EVERYTHING) for a in ("127.0.0.1", "10.1.2.3", "::1", "fd00::1"))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://8.8.8.8/", "bad_receiver"),
        ("ftp://8.8.8.8/", "bad_receiver"),
        ("file:///etc/passwd", "bad_receiver"),
        ("https://", "bad_receiver"),
        ("https://user:pass@8.8.8.8/", "bad_receiver"),
        ("https://8.8.8.8/#part", "bad_receiver"),
        ("https://8.8.8.8/a b", "bad_receiver"),
        ("https://8.8.8.8:99999/", "bad_receiver"),
        ("https://[::1", "bad_receiver"),
        ("https://8.8.8.8/" + "x" * 2_000, "bad_receiver"),
        ("https://127.0.0.1/", "private_address"),
        ("https://localhost/", "private_address"),
        ("https://2130706433/", "private_address"),
        ("https://0x7f.1/", "private_address"),
        ("https://[::ffff:10.0.0.1]/", "private_address"),
        ("https://169.254.169.254/latest/meta-data", "private_address"),
        ("https://no-such-host.invalid/", "unknown_host"),
    ],
)
async def test_a_receiver_that_would_not_be_called_is_refused(url: str, code: str) -> None:
    with pytest.raises(BadInput) as refused:
        await receivers.check(url, NOTHING)
    assert (refused.value.code, refused.value.status) == (code, 422)


async def test_a_public_https_receiver_is_taken() -> None:
    await receivers.check("https://8.8.8.8:8443/hooks?a=1", NOTHING)
    await receivers.check("http://127.0.0.1:80/", EVERYTHING)
