"""Every hostile token is refused, by everything that takes a token, with exactly its code, and leaves no trace."""

import asyncio
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from typing import Any, cast

import jwt
import pytest

from clerkmap import Resolver, TokenError, Verifier
from clerkmap.core.keys import LocalKeys, VerifyingKey
from clerkmap.errors import BadSignature, ConfigurationError
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk, SigningKey
from hostile_base import GOOD, ORIGIN, session
from hostile_policies import CASES, Case
from hostile_tokens import CLERK, INSTANCE, NOW, ORGANIZATION, USER, hostile_tokens
from tolerated_tokens import TOLERATED


def verifier() -> Verifier:
    return Verifier(INSTANCE, clock=Clock(NOW))


def code_of(call: Callable[[Any], object], token: Any) -> str:
    """The code of the refusal; of anything else, what it was instead."""
    try:
        return f"accepted: {call(token)!r}"
    except TokenError as error:
        return error.code
    except Exception as error:  # it is reported with all others
        return f"escaped: {error!r}"


def test_the_table_is_large_and_names_each_token_once() -> None:
    """Which token failed can be told from its name."""
    names = [hostile.name for hostile in hostile_tokens()]
    assert len(names) >= 1500
    assert len(names) == len(set(names))


def test_the_verifier_refuses_each_with_its_code() -> None:
    """The first check that fails names the refusal."""
    verify = verifier().verify
    found = [(hostile, code_of(verify, hostile.token)) for hostile in hostile_tokens()]
    assert [(hostile.name, hostile.code, code) for hostile, code in found if hostile.code != code] == []


@pytest.mark.parametrize("method", ["resolve", "resolve_nowait", "aresolve"])
def test_the_resolver_refuses_each_with_its_code_and_makes_nothing(method: str) -> None:
    """No colour lets in what another refuses, and a refused token makes no row."""
    repository = MemoryRepository()
    written_keys: list[object] = []
    repository.listeners.watch(written_keys.append)
    resolver = Resolver(INSTANCE, repository, verifier=verifier())
    call = getattr(resolver, method)

    async def all_of_them() -> list[str]:
        async def code(token: Any) -> str:
            try:
                return f"accepted: {await call(token)!r}"
            except TokenError as error:
                return error.code
            except Exception as error:
                return f"escaped: {error!r}"

        return [await code(hostile.token) for hostile in hostile_tokens()]

    if method == "aresolve":
        codes = asyncio.run(all_of_them())
    else:
        codes = [code_of(call, hostile.token) for hostile in hostile_tokens()]
    found = zip(hostile_tokens(), codes, strict=True)
    assert [(hostile.name, hostile.code, code) for hostile, code in found if hostile.code != code] == []
    assert written_keys == []
    assert repository.find(INSTANCE.name, USER.id) is None
    assert repository.find(INSTANCE.name, USER.id, ORGANIZATION.id) is None


def test_a_refusal_tells_nothing_of_the_token() -> None:
    """No text of an error, nor of one behind it, holds twelve characters of the token or of what is in it."""
    verify = verifier().verify
    leaks = []
    for hostile in hostile_tokens():
        try:
            verify(hostile.token)
        except TokenError as error:
            token = hostile.token if isinstance(hostile.token, str) else repr(hostile.token)
            parts = token[:20_000].split(".")
            secrets = [token, *map(_decoded, parts)]
            for text in _told(error):
                windows = [text[i : i + 12] for i in range(len(text) - 11)]
                leaks += [(hostile.name, text) for window in windows for secret in secrets if window in secret]
                leaks += [(hostile.name, text) for part in parts if len(part) > 4 and part in text]
    assert leaks == []


def _told(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _decoded(part: str) -> str:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8", "replace")
    except ValueError:
        return ""


BUSY = 0.02  # seconds; the slowest takes a tenth of that


def test_no_token_keeps_the_verifier_busy() -> None:
    """A stranger cannot buy more than a few milliseconds with one token."""
    verify = verifier().verify
    slow = []
    for hostile in hostile_tokens():
        tries: list[float] = []
        while len(tries) < 5 and min(tries, default=1.0) > BUSY:
            before = time.thread_time()  # not the clock on the wall: the machine may be busy
            code_of(verify, hostile.token)
            tries.append(time.thread_time() - before)
        if min(tries) > BUSY:
            slow.append((hostile.name, min(tries)))
    assert slow == []


@pytest.mark.parametrize("name", TOLERATED)
def test_a_token_with_nothing_wrong_is_accepted(name: str) -> None:
    """What surrounds each hostile token is good: it is refused for its one fault."""
    assert verifier().verify(TOLERATED[name]).kind == "session"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_other_policies(case: Case) -> None:
    """What is accepted is what was asked for, and no more."""
    if case.oidc is not None:
        instance = case.oidc.make_oidc_instance("api", **case.instance)
    else:
        instance = CLERK.make_instance(**case.instance)
    verify = Verifier(instance, clock=Clock(NOW), **case.policy).verify
    if case.code is None:
        assert verify(case.token).instance == instance.name
    else:
        assert code_of(verify, case.token) == case.code


@pytest.mark.parametrize(
    "policy",
    [
        *({"leeway": leeway} for leeway in (-1, 60.5, float("nan"), float("inf"), float("-inf"))),
        *({"accept": accept} for accept in ("session", "", [], ["robot"], ["session", "robot"])),
    ],
)
def test_a_policy_that_cannot_work_is_told_at_once(policy: dict[str, Any]) -> None:
    """A leeway is 0 to 60 seconds, and what is accepted is a list of kinds."""
    with pytest.raises(ConfigurationError):
        Verifier(INSTANCE, **policy)


def test_more_headers_than_are_remembered() -> None:
    """A verifier that has seen very many good headers verifies as before."""
    verify = verifier().verify
    tokens = [session({}, {"n": n}) for n in range(70)]
    assert [verify(token).subject for token in tokens * 2] == [USER.id] * 140
    forged = [f"{token.split('.')[0]}.{GOOD.split('.', 1)[1]}" for token in tokens]
    assert [code_of(verify, token) for token in forged] == ["token_signature_invalid"] * 70


class Turned(LocalKeys):
    """Keys of which one was replaced under its id, and which a fetch would tell."""

    def __init__(self, old: SigningKey, new: SigningKey) -> None:
        self.old, self.new = (
            VerifyingKey(key.kid, "RS256", (cast(Any, key.private).public_key(),)) for key in (old, new)
        )

    def get(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        return self.old if rejected is None else self.new


def test_a_key_replaced_under_its_id() -> None:
    """A signature that the known key refuses is tried with the newer one, and refused if that refuses it too."""
    third, second = SigningKey("third", CLERK.key.kid), SigningKey("second", CLERK.key.kid)
    assert Verifier(INSTANCE, keys=Turned(second, CLERK.key), clock=Clock(NOW)).verify(GOOD).subject == USER.id
    with pytest.raises(BadSignature):
        Verifier(INSTANCE, keys=Turned(second, third), clock=Clock(NOW)).verify(GOOD)


def agreed() -> Iterator[tuple[str, FakeClerk, dict[str, Any], str, str | None]]:
    """Good tokens of today, each with how it is verified."""
    clerk = FakeClerk(seed=43)
    user = clerk.create_user()
    acme = clerk.create_organization(created_by=user)
    granted = ["org:invoices:read", "org:invoices:write", "org:members:read"]
    yield "version 2", clerk, {}, clerk.token(user, expires_in=3600), None
    yield "version 1", clerk, {}, clerk.token(user, expires_in=3600, version=1), None
    for version in (1, 2):
        yield (
            f"organization, {version}",
            clerk,
            {},
            clerk.token(user, acme, expires_in=3600, permissions=granted, version=version),
            None,
        )
    yield (
        "features and plans",
        clerk,
        {},
        clerk.token(user, acme, expires_in=3600, features=["o:a", "u:b"], plan="o:pro"),
        None,
    )
    yield (
        "custom claims",
        clerk,
        {},
        clerk.token(user, expires_in=3600, claims={"metadata": {"é": [1, 2.5, None, True]}}),
        None,
    )
    yield "actor", clerk, {}, clerk.token(user, expires_in=3600, actor="user_admin"), None
    yield "pending", clerk, {"allow_pending": True}, clerk.token(user, expires_in=3600, pending=True), None
    yield "no party", clerk, {"allow_no_party": True}, clerk.token(user, expires_in=3600, party=None), None
    yield "OAuth", clerk, {"accept": ["oauth"]}, clerk.oauth_token(user), None
    yield "machine", clerk, {"accept": ["m2m"]}, clerk.machine_token(scopes=["mch_other"]), None
    for algorithm in ("RS256", "ES256", "ES384", "EdDSA"):
        provider = FakeClerk(seed=43, algorithm=algorithm)
        yield algorithm, provider, {}, provider.oidc_token("auth0|1", "api"), "api"


AGREED = list(agreed())


@pytest.mark.parametrize(
    ("clerk", "policy", "token", "audience"), [rest for _, *rest in AGREED], ids=[name for name, *_ in AGREED]
)
def test_pyjwt_reads_the_same(clerk: FakeClerk, policy: dict[str, Any], token: str, audience: str | None) -> None:
    """What clerkmap accepts, PyJWT accepts, and reads the same claims in it."""
    parties = [ORIGIN] if audience is None else None
    make = clerk.make_instance if audience is None else lambda **options: clerk.make_oidc_instance("api", **options)
    claims = Verifier(make(authorized_parties=parties), **policy).verify(token)
    algorithms, public = [clerk.key.algorithm], clerk.key.private.public_key()
    required: Any = {"require": ["exp", "iat", "sub", "iss"]}
    theirs = jwt.decode(token, public, algorithms, required, audience=audience, issuer=clerk.issuer, leeway=5)
    assert theirs == claims.payload
    assert (theirs["sub"], theirs["iss"]) == (claims.subject, claims.issuer)
