"""Spoiled tokens by the thousand: nothing but a refusal comes out, and what is let in, PyJWT lets in too.

`CLERKMAP_SOAK=1` makes it a million. `CLERKMAP_SEED` makes it other ones.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import jwt
import pytest

from clerkmap import Claims, TokenError, Verifier
from clerkmap.testing import Clock, FakeClerk
from hostile_tokens import CLERK, INSTANCE, NOW, hostile_tokens
from mutations import decode, spoiled_and_signed, spoiled_part, spoiled_text

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "1")
CHUNK = 1000
CHUNKS = 1000 if SOAK else 20
SIGNED = 40 if SOAK else 200  # of each chunk: to sign one takes as long as to refuse twenty
WIDE: dict[str, Any] = {"accept": ["session", "oauth", "m2m"], "allow_pending": True, "allow_no_party": True}
ORIGIN = "https://app.example.com"

pytestmark = pytest.mark.slow


class Bed(NamedTuple):
    """A Clerk, the tokens to begin with, the verifiers to try, and what PyJWT must not look at."""

    clerk: FakeClerk
    tokens: list[str]
    verifiers: list[Verifier]
    unchecked: dict[str, Any]


def beds() -> list[Bed]:
    """Good tokens of all kinds at the real time, and hostile ones at a time that PyJWT cannot be told."""
    clerk = FakeClerk(seed=44)
    instance = clerk.make_instance(authorized_parties=[ORIGIN])
    heard = clerk.make_instance(audience=["api", "mch_other"])
    verifiers = [Verifier(instance, **WIDE), Verifier(instance), Verifier(heard, **WIDE)]
    frozen = [Verifier(INSTANCE, clock=Clock(NOW), **WIDE), Verifier(INSTANCE, clock=Clock(NOW))]
    texts = [each.token for each in hostile_tokens() if isinstance(each.token, str) and len(each.token) <= 9000]
    off = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    return [Bed(clerk, list(good_tokens(clerk)), verifiers, {}), Bed(CLERK, texts, frozen, off)]


def good_tokens(clerk: FakeClerk) -> Iterator[str]:
    user = clerk.create_user()
    acme = clerk.create_organization(created_by=user)
    lasting: dict[str, Any] = {"exp": int(clerk.clock()) + 86_400}
    granted = ["org:invoices:read", "org:invoices:write", "org:members:read"]
    for version in (1, 2):
        yield clerk.token(user, version=version, claims=lasting)
        yield clerk.token(user, acme, version=version, permissions=granted, claims={**lasting, "aud": "api"})
    yield clerk.token(user, acme, permissions=granted, features=["u:themes"], plan="o:pro", claims=lasting)
    yield clerk.token(user, actor="user_admin", pending=True, claims={**lasting, "custom": {"a": [1, {"b": None}]}})
    yield clerk.token(user, header={"cat": None, "typ": None}, claims={**lasting, "azp": None})
    yield clerk.token(user, header={"cat": "cl_I7d4PD111III"}, claims=lasting)
    yield clerk.oauth_token(user, claims=lasting)
    yield clerk.machine_token(scopes=["mch_other"], claims=lasting)
    yield clerk.sign({}, {"iss": clerk.issuer, "sub": "mch_a", "iat": int(clerk.clock()), **lasting})
    yield clerk.template_token(user, claims=lasting)
    yield clerk.id_token(user, claims=lasting)
    yield clerk.handshake_token()


def spoiled(random: Random, bed: Bed) -> Iterator[str]:
    """One chunk. What was signed again is spoiled further, like all others."""
    bases = list(bed.tokens)
    signable = [token.split(".") for token in bed.tokens if token.count(".") == 2]
    for _ in range(SIGNED):
        parts = random.choice(signable)
        try:
            header, payload = (json.loads(decode(part)) for part in parts[:2])
        except (ValueError, RecursionError):
            continue
        if isinstance(header, dict) and isinstance(payload, dict):
            token = spoiled_and_signed(random, bed.clerk.key, header, payload)
            bases.append(token)
            yield token
    for _ in range(CHUNK - len(bases) + len(bed.tokens)):
        token = bases[int(random.random() * len(bases))]
        if random.random() < 0.4:
            yield spoiled_part(random, token)
        else:
            yield spoiled_text(random, token, bases)


def test_fuzz() -> None:
    """Nothing but a `TokenError` escapes from the verifier, and what it accepts is good by PyJWT's lights."""
    outcomes: Counter[str] = Counter()
    began, known = time.perf_counter(), beds()
    for chunk in range(CHUNKS):
        random = Random(f"{SEED}/{chunk}")
        bed = known[0] if random.random() < 0.75 else known[1]
        public = bed.clerk.key.private.public_key()
        for number, token in enumerate(spoiled(random, bed)):
            verifier = bed.verifiers[number % len(bed.verifiers)]
            try:
                claims = verifier.verify(token)
            except TokenError as error:
                outcomes[error.code] += 1
                continue
            except Exception as error:
                pytest.fail(f"CLERKMAP_SEED={SEED}, chunk {chunk}, number {number}: {error!r} of {token!r}")
            outcomes["accepted"] += 1
            try:
                assert agrees(claims, token, public, bed, verifier)
            except Exception as error:
                pytest.fail(f"CLERKMAP_SEED={SEED}, chunk {chunk}, number {number}: {error!r} of {token!r}")
    total, seconds = sum(outcomes.values()), time.perf_counter() - began
    print(f"{total:,} tokens in {seconds:.1f} seconds: {dict(outcomes.most_common())}")
    assert total == CHUNKS * CHUNK
    assert outcomes["accepted"] >= CHUNKS * SIGNED * 0.05
    assert len(outcomes) >= 18  # each check of the verifier has had its say


def agrees(claims: Claims, token: str, public: Any, bed: Bed, verifier: Verifier) -> bool:
    """Whether PyJWT reads the same, and each question about the claims has an answer."""
    audiences = verifier.instance.audiences or None
    # A machine's audience may be written as its scopes, which PyJWT knows nothing of.
    options: Any = {"require": ["exp", "iat", "sub", "iss"], "verify_aud": claims.kind != "m2m", **bed.unchecked}
    theirs = jwt.decode(token, public, ["RS256"], options, audience=audiences, issuer=bed.clerk.issuer, leeway=5)
    granted = claims.permissions
    answers = [
        claims.has(organization_role="admin", permission="a:b", feature="a", plan="o:a", reverified="lax")
        in (True, False)
    ]
    answers += [
        all(permission.startswith("org:") for permission in granted),
        not granted or claims.organization is not None,
    ]
    answers += [claims.factor_ages is None or len(claims.factor_ages) == 2, isinstance(claims.token_id, str | None)]
    answers += [
        claims.subject not in repr(claims),
        len(claims.features | claims.plans) >= 0,
        claims.issuer == theirs["iss"],
    ]
    return all(answers) and theirs == claims.payload
