"""Principals of every kind that a resolver makes, to be sent on their way."""

from typing import Any

from clerkmap import ClerkOrganization, Principal, Resolver, Verifier
from clerkmap.core.records import ClerkMembership
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk

NOW = 1_790_000_000
METADATA = {"role": "owner", "né": ["\U0001f600", {"deep": [[[1.5, None, True, 10**40]]]}], "nul": "\\u0000"}


def principals(seed: int = 71) -> dict[str, Principal]:
    """One of each kind, by what is special about it."""
    clerk = FakeClerk(seed=seed, clock=Clock(NOW))
    ann, bob = clerk.create_user("ann@example.com", first_name="Änne"), clerk.create_user()
    acme = clerk.create_organization("Acme", created_by=ann)
    clerk_name = clerk.instance.name
    times: dict[str, Any] = {"observed_at": NOW * 1000, "updated_at": NOW * 1000 - 5, "created_at": 1}
    repository, verifier = MemoryRepository(), clerk.verifier(accept=["session", "oauth"])
    resolver = Resolver(clerk.instance, repository, verifier=verifier)
    repository.put(
        [
            clerk.record(ann, public_metadata=METADATA, email_verified=True, username="ann"),
            ClerkOrganization.full(clerk_name, acme.id, name='"Acme"', slug="acme", public_metadata=METADATA, **times),
            ClerkMembership.full(
                clerk_name, "orgmem_1", clerk_user_id=ann.id, clerk_organization_id=acme.id, role="org:admin", **times
            ),
        ]
    )
    custom = {"nested": {"list": [1, 2.5, -0.0, "ü", None, {"": []}]}, "big": 2**70}
    numbered = MemoryRepository(ids=int, first_id=1)
    other = FakeClerk(seed=seed + 1, clock=Clock(NOW))
    oidc = other.make_oidc_instance("api")
    elsewhere = Resolver(oidc, MemoryRepository(), verifier=Verifier(oidc, clock=other.clock))
    by_number = Resolver(clerk.instance, numbered, verifier=clerk.verifier())
    return {
        "known in full": resolver.resolve(clerk.token(ann, acme, permissions=["org:a:b"], features=["u:x"])),
        "version 1": resolver.resolve(clerk.token(ann, acme, version=1, permissions=["org:a:b"])),
        "without an organization": resolver.resolve(clerk.token(ann, claims=custom)),
        "only sighted": resolver.resolve(clerk.token(bob, clerk.create_organization("New", created_by=bob))),
        "impersonated": resolver.resolve(clerk.token(bob, actor="user_admin")),
        "a client of theirs": resolver.resolve(clerk.oauth_token(bob, scopes=["notes:read"])),
        "with a number": by_number.resolve(clerk.token(bob, clerk.create_organization("Two", created_by=bob))),
        "of another provider": elsewhere.resolve(other.oidc_token("1", "api")),
    }
