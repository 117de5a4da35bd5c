"""Records and ids for the tests of repositories, each made in one short call."""

from collections.abc import Callable
from typing import Any

from ..core.model import User
from ..core.records import FULL, ClerkMembership, ClerkOrganization, ClerkUser, Grade, Record
from ..ports import CoreRepository, Repository

MakeRepository = Callable[..., Repository]
MakeCoreRepository = Callable[..., CoreRepository]
HERE, THERE = "here", "there"
ANN, BEA, ACME = "user_ann", "user_bea", "org_acme"


def person(clerk_id: str = ANN, *, at: int = 1, grade: Grade = FULL, instance: str = HERE, **said: Any) -> ClerkUser:
    """A record of a person, updated at a given time."""
    return ClerkUser.make(grade, instance, clerk_id, updated_at=at, observed_at=at, **said)


def company(clerk_id: str = ACME, *, at: int = 1, instance: str = HERE, **said: Any) -> ClerkOrganization:
    """A record of an organization, updated at a given time."""
    return ClerkOrganization.make(FULL, instance, clerk_id, updated_at=at, observed_at=at, **said)


def member(clerk_id: str = "orgmem_1", *, at: int = 1, user: str = ANN, role: str = "org:member") -> ClerkMembership:
    """A record of a membership, updated at a given time."""
    return ClerkMembership.full(
        HERE, clerk_id, clerk_user_id=user, clerk_organization_id=ACME, role=role, updated_at=at, observed_at=at
    )


def left(clerk_id: str = "orgmem_1", *, at: int = 2, user: str = ANN) -> ClerkMembership:
    """The tombstone of a membership."""
    return ClerkMembership.deleted(HERE, clerk_id, clerk_user_id=user, clerk_organization_id=ACME, observed_at=at)


def by_key(record: Record) -> str:
    """An id strategy that gives the same ids in every run."""
    return f"id-{record.instance}-{record.key[:8]}"


def found(repository: CoreRepository, clerk_id: str = ANN, instance: str = HERE) -> User:
    """Return the user with a Clerk id, which must be known."""
    standing = repository.find(instance, clerk_id)
    assert standing is not None
    return standing.user


def made_by(ids: str) -> dict[str, Any]:
    """The options of a repository that makes ids in this way, in an application that has no rows yet."""
    return {"ids": ids, "first_id": 1} if ids == "integer" else {"ids": ids}


def always_the_same(record: Record) -> str:
    """An id strategy that cannot work."""
    return "same"
