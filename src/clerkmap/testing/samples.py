"""Records and ids for the tests of repositories, each made in one short call."""

from collections.abc import Callable
from typing import Any

from ..core.model import User
from ..core.records import FULL, ClerkMembership, ClerkOrganization, ClerkUser, Grade, Record
from ..ports import CoreRepository, Ids, Repository

MakeRepository = Callable[..., Repository]
MakeCoreRepository = Callable[..., CoreRepository]
HERE, THERE = "here", "there"
ANN, BEA, ACME = "user_ann", "user_bea", "org_acme"


def person(clerk_id: str = ANN, *, at: int = 1, grade: Grade = FULL, instance: str = HERE, **said: Any) -> ClerkUser:
    """Return a record of a user, updated at a given time."""
    return ClerkUser.make(grade, instance, clerk_id, updated_at=at, observed_at=at, **said)


def company(clerk_id: str = ACME, *, at: int = 1, instance: str = HERE, **said: Any) -> ClerkOrganization:
    """Return a record of an organization, updated at a given time."""
    return ClerkOrganization.make(FULL, instance, clerk_id, updated_at=at, observed_at=at, **said)


def member(clerk_id: str = "orgmem_1", *, at: int = 1, user: str = ANN, role: str = "org:member") -> ClerkMembership:
    """Return a record of a membership, updated at a given time."""
    return ClerkMembership.full(
        HERE, clerk_id, clerk_user_id=user, clerk_organization_id=ACME, role=role, updated_at=at, observed_at=at
    )


def left(clerk_id: str = "orgmem_1", *, at: int = 2, user: str = ANN) -> ClerkMembership:
    """Return the tombstone of a membership."""
    return ClerkMembership.deleted(HERE, clerk_id, clerk_user_id=user, clerk_organization_id=ACME, observed_at=at)


def by_key(record: Record) -> str:
    """Return the same ids in every run: an id strategy."""
    return f"id-{record.instance}-{record.key[:8]}"


def found(repository: CoreRepository, clerk_id: str = ANN, instance: str = HERE) -> User:
    """Return the user with a Clerk id, which must be known."""
    standing = repository.find(instance, clerk_id)
    assert standing is not None
    return standing.user


def made_by(ids: Ids) -> dict[str, Any]:
    """Return the options for ids of this kind, in an application without other rows."""
    return {"ids": ids, "first_id": 1} if ids is int else {"ids": ids}


def always_the_same(record: Record) -> str:
    """Return one id for every user: an id strategy that cannot work."""
    return "same"
