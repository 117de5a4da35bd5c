"""Tables that a hook keeps, and their comparison with the repository."""

from typing import Any

from clerkmap import Change, Membership, Repository
from clerkmap.core.records import ClerkOrganization
from clerkmap.testing.samples import HERE, THERE
from random_lives import USERS, Rows

TABLES = (
    "CREATE TABLE kept_members (organization_id TEXT, user_key TEXT, user_id TEXT, role TEXT, clerk_id TEXT,"
    " PRIMARY KEY (organization_id, user_key))",
    "CREATE TABLE kept_people (instance TEXT, key TEXT, user_id TEXT, name TEXT, clerk_id TEXT, banned TEXT,"
    " PRIMARY KEY (instance, key))",
    "CREATE TABLE kept_organizations (id TEXT PRIMARY KEY, name TEXT, clerk_id TEXT)",
)


class Keeper:
    """The hook. It trusts the words of each change: a row that is made is not there, and others are."""

    def __init__(self, placeholder: str = "?") -> None:
        self._placeholder = placeholder
        self.is_late = False  # then a row may be there already, or not yet

    def __call__(self, change: Change, tx: Any) -> None:
        if change.is_membership:
            self._keep_member(change, tx)
        elif change.is_user:
            self._keep_person(change, tx)
        elif change.is_organization:
            self._keep_organization(change, tx)

    def _keep_member(self, change: Change, tx: Any) -> None:
        assert change.user is not None
        assert change.organization is not None
        assert change.membership is not None
        clerk = change.membership.clerk
        was_there = change.deleted or (isinstance(change.before, Membership) and change.before.is_current)
        if was_there or self.is_late:
            where = (change.organization.id, clerk.user_key, change.user.id)
            gone = self._run(
                tx, "DELETE FROM kept_members WHERE organization_id = ? AND user_key = ? AND user_id = ?", *where
            )
            assert gone == 1 or self.is_late
        if not change.deleted:
            row = (change.organization.id, clerk.user_key, change.user.id, change.membership.role, clerk.clerk_id)
            self._run(tx, "INSERT INTO kept_members VALUES (?, ?, ?, ?, ?)", *row)

    def _keep_person(self, change: Change, tx: Any) -> None:
        """Keep each identity, because a user may have several."""
        assert change.user is not None
        clerk = change.user.clerk
        self._run(tx, "DELETE FROM kept_people WHERE instance = ? AND key = ?", clerk.instance, clerk.key)
        if not clerk.is_deleted:
            row = (clerk.instance, clerk.key, change.user.id, change.user.name, clerk.clerk_id, str(clerk.banned))
            self._run(tx, "INSERT INTO kept_people VALUES (?, ?, ?, ?, ?, ?)", *row)

    def _keep_organization(self, change: Change, tx: Any) -> None:
        assert change.organization is not None
        self._run(tx, "DELETE FROM kept_organizations WHERE id = ?", change.organization.id)
        if not change.deleted:
            row = (change.organization.id, change.organization.name, change.organization.clerk_id)
            self._run(tx, "INSERT INTO kept_organizations VALUES (?, ?, ?)", *row)

    def _run(self, tx: Any, statement: str, *values: object) -> int:
        count: int = tx.execute(statement.replace("?", self._placeholder), values).rowcount
        return count


def check(repository: Repository, rows: Rows, *, has_views: bool, with_people: bool = True) -> None:
    """Compare the tables of the hook with what the repository lists, and with the views."""
    kept = rows("SELECT user_id, organization_id, role, clerk_id FROM kept_members")
    organizations = [
        row
        for instance in (HERE, THERE)
        for record in repository.records("organization", instance)
        if isinstance(record, ClerkOrganization) and not record.is_deleted
        if (row := repository.row("organization", instance, record.key)) is not None
    ]
    members = [each for row in organizations for each in repository.members(row.id).items]
    listed = [(each.user.id, each.organization.id, each.role, each.membership.clerk_id) for each in members]
    assert sorted(kept, key=repr) == sorted(listed, key=repr)
    kept = rows("SELECT id, clerk_id FROM kept_organizations")
    assert sorted(kept) == sorted((row.id, row.clerk_id) for row in organizations)
    if has_views:
        columns = "user_id, organization_id, role, clerk_membership_id"
        assert sorted(rows(f"SELECT {columns} FROM clerkmap_current_members"), key=repr) == sorted(listed, key=repr)
        assert sorted(rows("SELECT id, clerk_id FROM clerkmap_current_organizations")) == sorted(kept)
    if with_people:
        check_people(repository, rows, has_views=has_views)


def check_people(repository: Repository, rows: Rows, *, has_views: bool) -> None:
    """Compare the identities, and your users that have one."""
    people = rows("SELECT user_id, instance, clerk_id, name, banned FROM kept_people")
    standings = [repository.find(instance, user) for instance in (HERE, THERE) for user in USERS]
    users = [each.user for each in standings if each is not None and not each.user.clerk.is_deleted]
    found = [(user.id, user.clerk.instance, user.clerk_id, user.name, str(user.clerk.banned)) for user in users]
    assert sorted(people, key=repr) == sorted(found, key=repr)
    if has_views:
        assert {id for (id,) in rows("SELECT id FROM clerkmap_current_users")} == {id for id, *_ in people}
