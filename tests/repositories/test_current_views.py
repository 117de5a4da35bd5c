"""Views and lists of everything current agree with the resolver, after any history. `CLERKMAP_SOAK=1` tries 10,000."""

import os
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from clerkmap import Member, Repository
from clerkmap.core.admission import why_user_is_locked_out
from clerkmap.core.merging import current_membership
from clerkmap.core.records import ClerkMembership, ClerkOrganization
from clerkmap.repositories.sql.put import MANY
from clerkmap.testing.samples import ACME, ANN, HERE, THERE, company, left, member, person
from random_lives import ORGANIZATIONS, USERS, Rows, on_postgres, on_sqlite, step

HISTORIES = 10_000 if os.environ.get("CLERKMAP_SOAK") else 150


def check_lists(repository: Repository, members: list[tuple[Any, ...]]) -> None:
    """Compare the lists of the repository, in pages of two, with the rows of the view."""
    for id in {organization for _, organization, *_ in members}:
        listed: list[Member] = []
        after: str | None = None
        while True:
            page = repository.members(id, after=after, limit=2)
            listed += page.items
            after = page.after
            if after is None:
                break
        assert sorted(map(place_of, listed), key=repr) == sorted((row for row in members if row[1] == id), key=repr)
        assert repository.count_members(id) == len(listed)
    for id in {user for user, *_ in members}:
        listed = repository.organizations_of(id)
        assert sorted(map(place_of, listed), key=repr) == sorted((row for row in members if row[0] == id), key=repr)


def place_of(each: Member) -> tuple[Any, ...]:
    """A member as the view shows it."""
    clerk_ids = each.user.clerk_id, each.organization.clerk_id, each.membership.clerk_id
    return (each.user.id, each.organization.id, each.user.clerk.instance, each.role, *clerk_ids)


def check(repository: Repository, rows: Rows, *, of: Random | None = None) -> None:
    """Compare the views with the answers for every caller."""
    members: list[tuple[Any, ...]] = []
    users: dict[Any, tuple[Any, ...]] = {}
    for instance in (HERE, THERE):
        for user in USERS:
            for organization in ORGANIZATIONS:
                standing = repository.find(instance, user, organization)
                if standing is None:
                    continue
                row = repository.user(standing.user.id)
                if row is not None and row.deleted_at is None:
                    users[row.id] = (row.role, row.clerk.banned, row.clerk.instance, row.clerk_id, row.name)
                current = current_membership(standing.memberships)
                there = standing.organization
                if why_user_is_locked_out(standing) is None and current and there and not there.clerk.is_deleted:
                    ids = standing.user.id, there.id, instance, current.role, user, organization, current.clerk_id
                    members.append(ids)
    columns = "user_id, organization_id, instance, role, clerk_user_id, clerk_organization_id, clerk_membership_id"
    assert sorted(rows(f"SELECT {columns} FROM clerkmap_current_members"), key=repr) == sorted(members, key=repr)
    check_lists(repository, members)
    found = rows("SELECT id, role, banned, instance, clerk_id, name FROM clerkmap_current_users")
    assert len(found) == len(users)
    assert {id: (role, bool(banned), *others) for id, role, banned, *others in found} == users
    organizations = [
        (each.clerk_id, each.name)
        for instance in (HERE, THERE)
        for each in repository.records("organization", instance)
        if isinstance(each, ClerkOrganization) and not each.is_deleted
    ]
    assert sorted(rows("SELECT clerk_id, name FROM clerkmap_current_organizations"), key=repr) == sorted(
        [(clerk_id, name) for clerk_id, name in organizations], key=repr
    )


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_after_any_history(database: str, postgres_schema: str) -> None:
    """Views, lists and resolver agree on every user in every organization."""
    for seed in range(HISTORIES if database == "sqlite" else HISTORIES // 10):
        random = Random(seed)
        with on_sqlite() if database == "sqlite" else on_postgres(postgres_schema) as (repository, rows):
            for _ in range(random.randrange(4, 14)):
                step(random, repository)
                check(repository, rows)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_times_are_those_of_the_database(database: str, postgres_schema: str) -> None:
    """In PostgreSQL a time has a time zone; in SQLite it is text in UTC that sorts with `datetime('now')`."""
    with on_sqlite() if database == "sqlite" else on_postgres(postgres_schema) as (repository, rows):
        joined = ClerkMembership.full(
            HERE,
            "orgmem_1",
            clerk_user_id=ANN,
            clerk_organization_id=ACME,
            role="org:admin",
            observed_at=2,
            created_at=1_718_887_201_234,
        )
        repository.put([person(), company(created_at=0), joined])
        ((since,),) = rows("SELECT since FROM clerkmap_current_members")
        ((created_at,),) = rows("SELECT created_at FROM clerkmap_current_organizations")
        if database == "sqlite":
            assert (since, created_at) == ("2024-06-20 12:40:01.234", "1970-01-01 00:00:00.000")
        else:
            assert since == datetime(2024, 6, 20, 12, 40, 1, 234_000, tzinfo=UTC)
            assert created_at == datetime(1970, 1, 1, tzinfo=UTC)


def test_the_database_allows_one_place(postgres_schema: str) -> None:
    """Also after many joined and left in one batch, the flag is on one record of each pair."""
    for world in (on_sqlite(), on_postgres(postgres_schema)):
        with world as (repository, rows):
            repository.put([person(), company(), member("orgmem_1", at=1)])
            many = [member(f"orgmem_{number}", at=number) for number in range(2, 3 * MANY)]
            repository.put([left("orgmem_1", at=2), *many])
            ((clerk_id,),) = rows("SELECT clerk_id FROM clerkmap_memberships WHERE is_current")
            assert clerk_id == f"orgmem_{3 * MANY - 1}"
