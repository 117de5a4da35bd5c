"""The header of a session token is read once for each key, although Clerk writes another time into each."""

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from clerkmap.core.jose import read_token
from clerkmap.errors import AlgorithmRefused, TokenMalformed
from clerkmap.testing import Clock, FakeClerk
from hostile_base import encode

NOW = 1_790_000_000
CLERK = FakeClerk(clock=Clock(NOW))
USER = CLERK.create_user()
USUAL = {"alg": "RS256", "kid": CLERK.key.kid, "typ": "JWT", "cat": "cl_B7d4PD111AAA", "oiat": NOW}


def written(header: dict[str, Any] | str) -> str:
    """A token under this header; nothing in it is signed."""
    text = header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))
    return f"{encode(text.encode())}.{encode(b'{}')}.{encode(b'0000')}"


def test_headers_that_differ_in_their_time_are_one() -> None:
    """Wherever it stands in the header. The known header is not read again."""
    for place in range(len(USUAL)):
        names = [name for name in USUAL if name != "oiat"]
        names.insert(place, "oiat")
        first, later = (written({name: USUAL[name] for name in names} | {"oiat": at}) for at in (NOW, 1))
        reading = read_token(first, {})
        known = {reading.header_key: reading.header}
        assert read_token(later, known).header is reading.header


OTHERS = {
    "another algorithm": USUAL | {"alg": "none"},
    "another key": USUAL | {"kid": "ins_other"},
    "another category": USUAL | {"cat": "cl_B7d4PD222AAA"},
    "no time": {name: value for name, value in USUAL.items() if name != "oiat"},
    "a time that is text": USUAL | {"oiat": str(NOW)},
    "a time that is a fraction": USUAL | {"oiat": NOW + 0.5},
    "a time before 1970": USUAL | {"oiat": -NOW},
    "a time without end": USUAL | {"oiat": 10**13},
    "a name that ends like it": USUAL | {'x"oiat': 5},
    "a nested one": USUAL | {"oiat": [NOW]},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_any_other_difference_is_another_header(other: dict[str, Any]) -> None:
    """It is read for itself, or refused for what it is."""
    reading = read_token(written(USUAL), {})
    known = {reading.header_key: reading.header}
    try:
        found = read_token(written(other), known)
    except TokenMalformed:
        return
    assert found.header == other
    assert found.header is not reading.header


@pytest.mark.parametrize("text", ['{"oiat":01,"alg":"RS256"}', '{"oiat":1,"oiat":2}', '{"oiat":1 2}', '"oiat":1,{}'])
def test_a_header_that_is_no_strict_json_is_refused(text: str) -> None:
    """Although it would be one without its time, and such a one is known."""
    known: dict[bytes, Any] = {}
    for header in ({"oiat": 1, "alg": "RS256"}, {"oiat": 1}, {}):
        reading = read_token(written(header), {})
        known[reading.header_key] = reading.header
    with pytest.raises(TokenMalformed):
        read_token(written(text), known)


def test_an_encoded_header_is_never_taken_for_a_known_one() -> None:
    """What is left of a header without its time is compared with such remains only."""
    plain = CLERK.token(USER, header={"oiat": None})
    reading = read_token(plain, {})
    forged = encode(reading.header_key[:-1] + b'"oiat":1,' + reading.header_key[-1:])
    with pytest.raises(TokenMalformed):
        read_token(f"{forged}.{encode(b'{}')}.{encode(b'0000')}", {reading.header_key: reading.header})


def test_every_session_token_of_a_clerk_has_a_time_and_verifies() -> None:
    """As many as there are; and a header with another algorithm is refused after them as before."""
    clerk = FakeClerk(3, clock=Clock(NOW))
    verifier, user = clerk.verifier(), clerk.create_user()
    times = set[int]()
    for _ in range(200):
        clerk.clock.advance(1)
        token = clerk.token(user)
        times.add(json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))["oiat"])
        assert verifier.verify(token).subject == user.id
    assert len(times) == 200
    with pytest.raises(AlgorithmRefused):
        verifier.verify(clerk.token(user, header={"alg": "none"}))
