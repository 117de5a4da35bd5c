"""What Clerk's answer makes of an opaque token: exactly what it says, or nothing at all."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from clerkmap import ClerkmapError, Unavailable
from clerkmap.core.opaque_tokens import KINDS, MAX_ANSWER, Prefix, read_answer
from clerkmap.core.responses import error_response
from clerkmap.errors import (
    ApiKeyRefused,
    ApiRefused,
    ApiUnavailable,
    ClaimInvalid,
    ClaimMissing,
    TokenError,
    TokenExpired,
    TokenIssuedInFuture,
    TokenUnknown,
)
from clerkmap.testing import FakeClerk
from opaque_world import MAKERS, NOW, Shape, World

GONE = object()
DEEP: list[object] = []
for _ in range(100):
    DEEP = [DEEP]


def changed(**fields: object) -> Callable[[Shape], Shape]:
    return lambda said: {name: value for name, value in (said | fields).items() if value is not GONE}


NO_FLAGS: list[object] = [None, 0, "false", [], {}]
NO_TIMES: list[object] = [True, "1790000000", 0, -1, 10**30, [], {}, 1e300]
UNREADABLE: dict[str, Callable[[Shape], object]] = {
    "no object": changed(object=GONE),
    "another object": changed(object="user"),
    "the object of another kind": changed(object="machine_to_machine_token"),
    "an object that is a list": changed(object=["api_key"]),
    "active, and no more": lambda _: {"active": True},
    "active as a text": changed(active="false"),
    "active as null": changed(active=None),
    "active as 0": changed(active=0),
    "nothing": lambda _: {},
    "a list": lambda said: [said],
    "null": lambda _: None,
    "a text": lambda _: "ok",
    **{f"no {name}": changed(**{name: GONE}) for name in ("revoked", "expired", "expiration", "created_at", "subject")},
    "no id": changed(id=GONE),
    **{f"revoked: {value!r}": changed(revoked=value) for value in NO_FLAGS},
    **{f"expired: {value!r}": changed(expired=value) for value in NO_FLAGS},
    **{f"{name}: {value!r}": changed(**{name: value}) for name in ("expiration", "created_at") for value in NO_TIMES},
    "made at no time": changed(created_at=None),
    "claims without end": changed(claims={"a": "x" * MAX_ANSWER}),
    "claims of no depth that is known": changed(claims=DEEP),
    "half a character": changed(name="\ud800"),
}
REFUSED: dict[str, tuple[Callable[[Shape], object], type[TokenError]]] = {
    "not active": (lambda _: {"active": False}, TokenUnknown),
    "not active, and all the rest": (changed(active=False), TokenUnknown),
    "revoked": (changed(revoked=True), TokenUnknown),
    "revoked and expired": (changed(revoked=True, expired=True), TokenUnknown),
    "expired": (changed(expired=True), TokenExpired),
    "expired, in seconds": (changed(expiration=NOW - 1), TokenExpired),
    "expired, in milliseconds": (changed(expiration=(NOW - 1) * 1000), TokenExpired),
    "expired now": (changed(expiration=NOW * 1000), TokenExpired),
    "a machine's": (changed(subject="mch_a"), ClaimInvalid),
    "nobody's": (changed(subject=""), ClaimInvalid),
    "nobody's at all": (changed(subject=None), ClaimInvalid),
    "a number's": (changed(subject=7), ClaimInvalid),
    "two people's": (changed(subject=["user_a", "user_b"]), ClaimInvalid),
    "somebody odd's": (changed(subject="user_a b"), ClaimInvalid),
    "somebody whose id has no end": (changed(subject="user_" + "a" * 500), ClaimInvalid),
    "an id that is none": (changed(id=7), ClaimInvalid),
    "made in the future": (changed(created_at=(NOW + 30) * 1000), TokenIssuedInFuture),
    "made after its word is over": (changed(created_at=(NOW + 3000) * 1000), ClaimInvalid),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_answer_that_is_none_of_clerks_lets_nobody_in(name: str) -> None:
    """It is not the caller's fault: 503, and nobody throws a good key away for it."""
    world = World()
    secret = world.clerk.create_api_key(world.ann).secret
    world.api.change = UNREADABLE[name]
    with pytest.raises(ApiUnavailable) as caught:
        world.resolver.resolve(secret)
    assert error_response(caught.value).status == 503
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("name", REFUSED)
def test_an_answer_that_speaks_for_nobody_lets_nobody_in(name: str) -> None:
    """Each has its reason, and each is 401."""
    world = World()
    secret = world.clerk.create_api_key(world.ann).secret
    world.api.change, error = REFUSED[name]
    with pytest.raises(error) as caught:
        world.resolver.resolve(secret)
    assert type(caught.value) is error
    assert error_response(caught.value).status == 401


@pytest.mark.parametrize(("made", "ends"), [(NOW - 50, NOW + 20), ((NOW - 50) * 1000, (NOW + 20) * 1000)])
def test_times_in_seconds_and_in_milliseconds(made: int, ends: int) -> None:
    """Clerk's documentation has both; they are told apart by their size."""
    world = World()
    world.api.change = changed(created_at=made, expiration=ends)
    claims = world.verifier.verify(world.clerk.create_api_key(world.ann).secret)
    assert (claims.issued_at, claims.expires_at) == (NOW - 50, NOW + 20)


@pytest.mark.parametrize("scopes", [None, GONE, "read write", {"read": 1}, [None, 5, ["read"], ""]])
def test_malformed_scopes_are_none(scopes: object) -> None:
    """A grant that is malformed is no grant."""
    world = World()
    world.api.change = changed(scopes=scopes)
    assert world.verifier.verify(world.clerk.create_api_key(world.ann).secret).scopes == ()


def test_a_client_has_to_be_named() -> None:
    """As in the OAuth tokens that are JWTs."""
    world = World()
    world.api.change = changed(client_id=GONE)
    with pytest.raises(ClaimMissing):
        world.verifier.verify(world.clerk.create_oauth_token(world.ann).secret)


def refusing(status: int, code: str | None) -> Callable[[httpx.Request], httpx.Response]:
    said = {"errors": [{"message": "m", "long_message": "m", "code": code}]} if code else {}
    return lambda _: httpx.Response(status, json=said)


@pytest.mark.parametrize(
    ("status", "code", "error", "answered"),
    [
        (401, "clerk_key_invalid", ApiKeyRefused, 500),
        (404, "resource_not_found", TokenUnknown, 401),
        (404, "feature_not_enabled", ApiRefused, 500),
        (404, None, ApiUnavailable, 503),
        (400, "form_param_format_invalid", TokenUnknown, 401),
        (422, "form_param_format_invalid", TokenUnknown, 401),
        (403, "forbidden", ApiRefused, 500),
        (500, "internal_clerk_error", ApiUnavailable, 503),
        (302, None, ApiUnavailable, 503),
        (204, None, ApiUnavailable, 503),
    ],
)
def test_other_statuses(status: int, code: str | None, error: type[ClerkmapError], answered: int) -> None:
    """Only a token that Clerk does not know, or cannot read, is the caller's fault."""
    world = World()
    world.api.trouble = refusing(status, code)
    with pytest.raises(error) as caught:
        world.resolver.resolve(world.clerk.create_api_key(world.ann).secret)
    assert type(caught.value) is error
    assert error_response(caught.value).status == answered


def test_lost_connections_and_429() -> None:
    """Nobody can tell: 503."""

    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"{request.content!r}")

    for trouble in (lost, lambda _: httpx.Response(429, headers={"retry-after": "60"}, json={"errors": []})):
        world = World(deadline=0.2)
        world.api.trouble = trouble
        with pytest.raises(Unavailable):
            world.resolver.resolve(world.clerk.create_api_key(world.ann).secret)


@pytest.mark.parametrize("prefix", KINDS)
def test_no_answer_raises_anything_else(prefix: Prefix) -> None:
    """Whatever a field holds, it is a word, a refusal, or the error that stands for no answer."""
    clerk = FakeClerk(3)
    api = World()
    whole: list[Shape] = []

    def seen(said: Shape) -> Shape:
        whole.append(said)
        return said

    api.api.change = seen
    kind = KINDS[prefix][0]
    api.verifier.verify(MAKERS[kind](api).secret)
    odd: list[Any] = [None, True, 0, -1, 2**70, 1e400, float("nan"), "", "x", "\ud800", "\0", [], {}, [[]], {"a": {}}]
    outcomes = set[str]()
    for name in whole[0]:
        for value in odd:
            try:
                read_answer(prefix, whole[0] | {name: value}, clerk.issuer, NOW, 60)
            except (KeyError, ValueError, OverflowError):
                outcomes.add("no answer")
            except TokenError:
                outcomes.add("a refusal")
            else:
                outcomes.add("a word")
    assert outcomes == {"a word", "a refusal", "no answer"}
