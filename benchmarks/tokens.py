"""The cost of a token that was seen before, and of a new one."""

from collections.abc import Iterator
from functools import partial

import httpx
from clerk_backend_api.security import AuthenticateRequestOptions, AuthStatus, authenticate_request

from clerkmap import Resolver, Verifier
from clerkmap.repositories import MemoryRepository
from clerkmap.testing.fake_clerk import ORIGIN

from .measure import Aim, Row, Side, compare, constant
from .people import Crowd, bare_verification, crowd, signed_and_signature

SDK = "the official SDK's authenticate_request"


def resolve(short: bool) -> Iterator[Row]:
    """Measure a token and user seen before, as in almost every request, against the official SDK.

    The SDK gets the public key, so that neither side opens a socket, and a prepared request. Both check the party.
    """
    rounds, size = (3, 20) if short else (41, 200)
    aim = Aim(">= 40 times faster, <= 2 us", ratio=1 / 40, limit=2e-6)
    plain, in_organization = crowd(size), crowd(size, organization=True)
    for people, suffix in ((plain, ""), (in_organization, ", organization in the token")):
        resolver = Resolver(people.instance, MemoryRepository())
        for token in people.tokens:
            resolver.resolve(token)
        for name, call in (("resolve", resolver.resolve), ("resolve_nowait", resolver.resolve_nowait)):
            what = f"{name}, token and user seen before{suffix}"
            ours, theirs, ratio = compare(Side(call, people.fresh(times=20)), _official(people), rounds, what)
            yield Row("resolve", what, ours, SDK, theirs, ratio, aim)


def _official(people: Crowd) -> Side:
    options = AuthenticateRequestOptions(jwt_key=people.clerk.key.pem(), authorized_parties=[ORIGIN])
    requests = [
        httpx.Request("GET", "https://api.example.com/", headers={"Authorization": f"Bearer {token}"})
        for token in people.tokens
    ]
    assert authenticate_request(requests[0], options).status is AuthStatus.SIGNED_IN
    return Side(partial(authenticate_request, options=options), constant(requests))


def verify(short: bool) -> Iterator[Row]:
    """Measure a token not seen before, against the signature check alone.

    A verifier caches no token, so each token is new to it. It caches the header, which all tokens of a key share. The
    unmeasured round fills that cache, as a first request does.
    """
    rounds, size = (3, 20) if short else (61, 400)
    for organization, suffix in ((False, ""), (True, ", organization in the token")):
        aim = None if organization else Aim("<= 1.8 times", ratio=1.8)
        people = crowd(size, organization=organization)
        raw = Side(bare_verification(people.clerk), constant([signed_and_signature(token) for token in people.tokens]))
        what = f"verify, token not seen before{suffix}"
        ours, theirs, ratio = compare(Side(Verifier(people.instance).verify, people.fresh()), raw, rounds, what)
        yield Row("verify", what, ours, "one RSA-2048 verification of the same bytes", theirs, ratio, aim)
