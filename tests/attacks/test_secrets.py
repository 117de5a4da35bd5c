"""No token, secret or personal datum appears in a log, a repr or an error text."""

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from conftest import SECRET, Listener

from clerkmap import (
    Change,
    ClerkmapError,
    ClerkMembership,
    ClerkOrganization,
    ClerkUser,
    Instance,
    Resolver,
    Verifier,
)
from clerkmap.clerk import AsyncClerkApi, ClerkApi, endpoints
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.core.records import FULL
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import FakeClerk

CANARIES = {
    "secret_key": "sk_test_c4n4ryc4n4ryc4n4ryc4n4ry",
    "webhook_secrets": ["whsec_" + "YzRuNHJ5" * 4],
    "first_name": "Canarina",
    "email": "canary@example.com",
}


def _everything() -> list[object]:
    """One of each thing that a careless line might log."""
    clerk = FakeClerk(seed=8)
    ann = clerk.create_user(email="canary@example.com", first_name="Canarina")
    acme = clerk.create_organization("Canaries", created_by=ann)
    instance = clerk.make_instance(secret_key=CANARIES["secret_key"], webhook_secrets=CANARIES["webhook_secrets"])
    repository = MemoryRepository()
    full = ClerkUser.make(FULL, instance.name, ann.id, observed_at=1, email="canary@example.com", first_name="Canarina")
    repository.put([full, ClerkOrganization.make(FULL, instance.name, acme.id, observed_at=1, name="Canaries")])
    token = clerk.token(ann, acme, claims={"email": "canary@example.com", "name": "Canarina"})
    resolver = Resolver(instance, repository)
    principal = resolver.resolve(token)
    standing = repository.find(instance.name, ann.id, acme.id)
    assert standing is not None
    return [
        *(instance, Verifier(instance), resolver, repository, SqliteRepository.open(":memory:"), RemoteKeys(instance)),
        *(principal, principal.user, principal.organization, principal.membership, principal.claims, standing),
        *(
            full,
            Change(None, principal.user),
            ClerkMembership.deleted(
                "x", "orgmem_1", clerk_user_id=ann.id, clerk_organization_id=acme.id, observed_at=1
            ),
        ),
        *(ClerkApi(instance, transport=clerk.transport()), AsyncClerkApi(instance, transport=clerk.transport())),
        *(endpoints.user(ann.id), endpoints.users(emails=["canary@example.com"])),
        *(instance.local_keys, next(iter(instance.local_keys or []))),
    ]


@pytest.mark.parametrize("show", [repr, str, lambda value: f"{[value]}", lambda value: f"{value!s} {value!r}"])
def test_no_repr_tells(show: Callable[[object], str]) -> None:
    """However a thing is printed, it keeps its secrets."""
    things = _everything()
    shown = {type(thing).__name__: show(thing) for thing in things}
    for thing in things:
        if isinstance(thing, SqliteRepository):
            thing.close()

    assert {name: text for name, text in shown.items() if SECRET.search(text) or "anari" in text} == {}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("publishable_key", "pk_test_c4n4ryc4n4ryc4n4ryc4n4ry"),
        ("secret_key", "sk_test_c4n4ry c4n4ry"),
        ("webhook_secrets", ["whsec_c4n4ry!"]),
        ("jwt_key", "-----BEGIN PUBLIC KEY-----\nc4n4ry\n-----END PUBLIC KEY-----"),
        ("jwt_key", "c4n4ry" * 30),
        ("api_url", "https://c4n4ry:c4n4ry@example.com"),
        ("issuer", "http://c4n4ry:c4n4ry@example.com"),
    ],
)
def test_no_refused_setting_is_repeated(setting: str, value: object) -> None:
    """A setting that cannot work is described, not quoted: not in the text, and not in its causes."""
    settings: dict[str, Any] = {"publishable_key": FakeClerk(seed=8).publishable_key, setting: value}

    with pytest.raises(ClerkmapError) as caught:
        Instance(**settings)

    lines = [str(caught.value), repr(caught.value)]
    error: BaseException | None = caught.value
    while error is not None:
        lines += traceback.format_exception_only(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert "c4n4ry" not in " ".join(lines)


def test_the_listener_hears(listener: Listener) -> None:
    """The guard of the whole suite is awake: what is logged is heard, and a secret in it is recognised."""
    logging.getLogger("clerkmap.test").debug("a line that means nothing")

    assert listener.lines == ["a line that means nothing"]
    assert SECRET.search("Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
    assert SECRET.search("user_iYuHuHF28OC1sYBYYvqIERFdFKe")
