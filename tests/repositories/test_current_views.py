"""Views and lists of everything current agree with the resolver, after any history. `CLERKMAP_SOAK=1` tries 10,000."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any, cast

import pytest

from clerkmap import Member, Organization, Repository, ResultPage, User
from clerkmap.core.admission import why_user_is_locked_out
from clerkmap.core.merging import current_membership
from clerkmap.core.records import ClerkMembership, ClerkOrganization, ClerkUser, Kind
from clerkmap.repositories.listing import terms_of
from clerkmap.repositories.sql.put import MANY
from clerkmap.testing.samples import ACME, ANN, HERE, THERE, company, left, member, person
from random_lives import ORGANIZATIONS, USERS, Rows, on_postgres, on_sqlite, step

HISTORIES = 10_000 if os.environ.get("CLERKMAP_SOAK") else 150


def check_lists(repository: Repository, members: list[tuple[Any, ...]]) -> None:
    """Compare the lists of the repository, in pages of two, with the rows of the view."""
    for id in {organization for _, organization, *_ in members}:
        listed: list[Member] = pages(repository.members, id)
        found = [each for each in listed if (each.user.name or "").startswith("2")]
        assert pages(repository.members, id, search="2") == found
        assert repository.count_members(id, search="2") == len(found)
        assert sorted(map(place_of, listed), key=repr) == sorted((row for row in members if row[1] == id), key=repr)
        assert repository.count_members(id) == len(listed)
    for id in {user for user, *_ in members}:
        listed = repository.organizations_of(id)
        assert sorted(map(place_of, listed), key=repr) == sorted((row for row in members if row[0] == id), key=repr)


def check_users(repository: Repository) -> None:
    """Compare the lists of users and organizations, and searches, with what `find` and `user` say of each."""
    every = [repository.find(instance, user) for instance in (HERE, THERE) for user in USERS]
    ids = {standing.user.id for standing in every if standing is not None}
    users = [user for id in ids if (user := repository.user(id)) is not None]
    current = [user for user in users if user.deleted_at is None]
    wanted: list[tuple[dict[str, Any], list[User]]] = [
        ({}, current),
        ({"deleted": None}, users),
        ({"deleted": True}, [user for user in users if user.deleted_at is not None]),
        ({"banned": True}, [user for user in current if user.clerk.banned]),
        *(({"search": text}, [user for user in current if user.name == text]) for text in ("1", "2", "3")),
        *(({"search": user.clerk_id}, [each for each in users if each.id == user.id]) for user in current),
    ]
    for filters, found in wanted:
        listed = pages(repository.users, **filters)
        assert len({user.id for user in listed}) == len(listed) == repository.count_users(**filters)
        if "user" in str(filters.get("search")):  # an id that several identities may share
            assert {user.id for user in listed} >= {user.id for user in found}
        else:
            assert sorted(listed, key=repr) == sorted(found, key=repr), filters
    organizations: list[Organization] = pages(repository.organizations)
    assert repository.count_organizations() == len(organizations)
    assert all(repository.organization(each.id) == each and not each.clerk.is_deleted for each in organizations)
    for text in ("1", "2", "3"):
        named = sorted((each for each in organizations if each.name == text), key=repr)
        assert sorted(pages(repository.organizations, text), key=repr) == named


def check_terms(repository: Repository, rows: Rows) -> None:
    """Each record that is not deleted has its terms in the table, and there are no others."""
    kept = [
        (term.kind, term.text, record.instance, record.key, term.shared)
        for instance in (HERE, THERE)
        for kind in ("user", "organization")
        for record in repository.records(cast(Kind, kind), instance)
        for term in terms_of(record)
    ]
    assert sorted(rows("SELECT kind, term, instance, key, shared FROM clerkmap_search_terms")) == sorted(kept)


def pages(read: Callable[..., ResultPage[Any]], *args: Any, **filters: Any) -> list[Any]:
    """All items of a list, in pages of two."""
    page = read(*args, limit=2, **filters)
    items = list(page.items)
    while page.after is not None:
        page = read(*args, limit=2, after=page.after, **filters)
        items += page.items
    return items


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
    check_users(repository)
    check_terms(repository, rows)
    found = rows("SELECT id, role, banned, instance, clerk_id, name FROM clerkmap_current_users")
    assert len(found) == len(users)
    assert {id: (role, bool(banned), *others) for id, role, banned, *others in found} == users
    assert {user.id for user in pages(repository.users)} == set(users)
    organizations = [
        (each.clerk_id, each.name)
        for instance in (HERE, THERE)
        for each in repository.records("organization", instance)
        if isinstance(each, ClerkOrganization) and not each.is_deleted
    ]
    assert sorted(rows("SELECT clerk_id, name FROM clerkmap_current_organizations"), key=repr) == sorted(
        [(clerk_id, name) for clerk_id, name in organizations], key=repr
    )
    listed = [(each.clerk_id, each.name) for each in pages(repository.organizations)]
    assert sorted(listed, key=repr) == sorted(organizations, key=repr)


@pytest.mark.slow
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


def test_many_names_change_at_once(postgres_schema: str) -> None:
    """A batch that renames or deletes hundreds of users leaves their new terms, and no others."""
    names = [f"user_{number}" for number in range(400)]
    for world in (on_sqlite(), on_postgres(postgres_schema)):
        with world as (repository, rows):
            for at in (1, 2):
                said: list[dict[str, Any]] = [
                    {"first_name": f"A{n}", "last_name": f"B{n}", "username": f"{at}{n}"} for n in names
                ]
                repository.put([person(name, at=at, **each) for name, each in zip(names, said, strict=True)])
                check_terms(repository, rows)
            repository.put([ClerkUser.deleted(HERE, name, observed_at=9) for name in names])
            assert rows("SELECT count(*) FROM clerkmap_search_terms") == [(0,)]
