"""The users, tokens and records of the measurements."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from clerkmap import Instance
from clerkmap.core.jose import decode_base64url
from clerkmap.core.records import FROM_TOKEN, FULL, AnyRecord, ClerkMembership, ClerkOrganization, ClerkUser
from clerkmap.ports import Repository
from clerkmap.testing import FakeClerk
from clerkmap.testing.fake_clerk import ORIGIN

from .measure import progress

INSTANCE = "example.com"
OBSERVED_AT = 1_750_000_000_000
DAY = 86_400
BATCH = 1_000
PERMISSIONS = ("org:invoices:read", "org:invoices:create", "org:reports:read")


class Crowd(NamedTuple):
    """A Clerk, its instance with a local key, and a token for each of several users."""

    clerk: FakeClerk
    instance: Instance
    tokens: list[str]

    def fresh(self, times: int = 1) -> Callable[[], list[str]]:
        """Return new string objects of the tokens, without a cached hash, as from requests."""
        raw = [token.encode() for token in self.tokens]
        return lambda: [token.decode() for token in raw * times]


def crowd(size: int, *, organization: bool = False) -> Crowd:
    """Return users with a token each, optionally with an organization and three permissions in it."""
    clerk = FakeClerk(1)
    instance = clerk.make_instance(authorized_parties=[ORIGIN])
    acme = clerk.create_organization() if organization else None
    permissions = PERMISSIONS if organization else ()
    tokens = []
    for number in range(size):
        progress(f"signing tokens: {number} of {size}")
        tokens.append(clerk.token(clerk.create_user(), acme, permissions=permissions, expires_in=DAY))
    progress("")
    return Crowd(clerk, instance, tokens)


def signed_and_signature(token: str) -> tuple[bytes, bytes]:
    """The decoded parts of a token for a bare verification."""
    signed, _, signature = token.rpartition(".")
    return signed.encode(), decode_base64url(signature.encode())


def bare_verification(clerk: FakeClerk) -> Callable[[tuple[bytes, bytes]], None]:
    """Verify one RSA-2048 signature with `cryptography` alone. Raise if it does not match."""
    public = clerk.key.private.public_key()
    assert isinstance(public, rsa.RSAPublicKey)

    def verify(parts: tuple[bytes, bytes]) -> None:
        public.verify(parts[1], parts[0], PKCS1v15(), SHA256())

    return verify


def clerk_id(number: int) -> str:
    """Return the id of a fake user: as long as Clerk's ids, and cheap to make by the million."""
    return f"user_{number:027d}"


def organization_id(number: int) -> str:
    """Return the organization of the user with this number. Each organization has a hundred members."""
    return f"org_{number // 100:027d}"


def from_token(number: int) -> list[AnyRecord]:
    """Return the records of a user from a token alone."""
    return [ClerkUser.make(FROM_TOKEN, INSTANCE, clerk_id(number), observed_at=OBSERVED_AT + number)]


def member(number: int) -> list[AnyRecord]:
    """Return the records of a user from a token with an organization. The first member also brings the organization."""
    organization, observed_at = organization_id(number), OBSERVED_AT + number
    membership = ClerkMembership.from_token(
        INSTANCE,
        clerk_user_id=clerk_id(number),
        clerk_organization_id=organization,
        role="org:member",
        observed_at=observed_at,
    )
    if number % 100:
        return [*from_token(number), membership]
    made = ClerkOrganization.make(FROM_TOKEN, INSTANCE, organization, slug=f"slug-{number}", observed_at=observed_at)
    return [*from_token(number), made, membership]


def profiled(number: int) -> list[AnyRecord]:
    """Return the records of a user with a full profile. No two users share a string."""
    user = ClerkUser.make(
        FULL,
        INSTANCE,
        clerk_id(number),
        observed_at=OBSERVED_AT + number,
        updated_at=OBSERVED_AT - number,
        email=f"somebody.{number}@example.com",
        email_verified=True,
        first_name=f"First{number}",
        last_name=f"Lastname{number}",
        image_url=f"https://img.clerk.com/{number:078d}",
        public_metadata="{}",
        created_at=OBSERVED_AT - 2 * number,
    )
    return [user]


def populate(repository: Repository, size: int, make: Callable[[int], list[AnyRecord]] = from_token) -> None:
    """Put so many users in batches, each in one transaction."""
    for batch in _batches(size):
        progress(f"putting users: {batch.start:,} of {size:,}")
        repository.put([record for number in batch for record in make(number)])
    progress("")


def _batches(size: int) -> Iterator[range]:
    for start in range(0, size, BATCH):
        yield range(start, min(start + BATCH, size))
