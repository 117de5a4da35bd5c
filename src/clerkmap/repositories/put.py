"""How what Clerk says gets into the tables, statement by statement.

Where writers do not wait in line for the whole database, each keeps the others from what it is about to write; and what
it found missing may be there by the time it inserts it: then it begins anew with that thing.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from ..core.merging import deleted_at, deleted_before, last_word
from ..core.model import Change, Id, Membership, Organization, Session, User, keys_of, spokesman
from ..core.records import AnyRecord, ClerkMembership, ClerkOrganization, ClerkSession, ClerkUser, fold
from ..errors import UserTaken
from .bulk import Bulk
from .options import FirstRoles, id_taken, ids_made, log_taken, not_inserted
from .reading import organization_of
from .sql import membership_row, organization_row, session_row, user_row
from .work import Work, Written

TRIES = 10  # more than others can be faster
_CLOCKS_DIFFER = 86_400_000  # milliseconds, at most, from the process that purges
SLOTS = 1024  # a server has room for some thousands of locks, and a batch may be of any size


class Putting(Bulk):
    """What is there, and how it comes to be there."""

    def is_repeatable(self, records: Iterable[AnyRecord]) -> bool:
        """Return whether a second put of these records changes nothing, whatever was written since the first.

        Only a purge forgets a record. A tombstone that a purge may have taken must not come back.
        """
        youngest_purged = deleted_before(
            max(0, self._configuration.now() - self._configuration.tombstones_kept + _CLOCKS_DIFFER)
        )
        return not any(record.is_deleted and record.rank < youngest_purged for record in records)

    def put(self, records: Iterable[AnyRecord]) -> Work[Written[list[Change]]]:
        records, written = list(records), list[Change]()
        roles = self._configuration.first_roles(records)
        folded = fold(records)
        yield from self._lock(folded)
        done = yield from self._put_many(folded, roles)
        for record in folded:
            of_kind, place = done.get(record.kind, {}), (record.instance, record.key)
            change = of_kind[place] if place in of_kind else (yield from self._put(record, roles))
            if change is not None:
                written.append(change)
        if any(isinstance(change.after, Membership) for change in written):
            written = yield from self._with_ends(written)
        return written, [change for change in written if change.is_news]

    def _lock(self, folded: list[AnyRecord]) -> Work[None]:
        """Who writes about several things takes a lock for each beforehand, in one order, so that nobody waits in a
        circle; so does who writes of a membership, since another one of the same two ends may be another row."""
        is_one_row = len(folded) == 1 and not isinstance(folded[0], ClerkMembership)
        if not is_one_row:
            keys = {each.user_key if isinstance(each, ClerkMembership) else each.key for each in folded}
            yield from self._lock_keys(keys)

    def _lock_keys(self, keys: Collection[str]) -> Work[None]:
        if self._sql.lock_slots is not None and keys:
            yield self._sql.lock_slots, (sorted({int(key[:8], 16) % SLOTS for key in keys}),)

    def _put(self, record: AnyRecord, roles: FirstRoles) -> Work[Change | None]:
        if isinstance(record, ClerkUser):
            return (yield from self._put_user(record, *roles.get((record.instance, record.key), (None, None))))
        if isinstance(record, ClerkOrganization):
            return (yield from self._put_organization(record))
        if isinstance(record, ClerkMembership):
            return (yield from self._put_membership(record))
        return (yield from self._put_session(record))

    def _put_user(
        self, record: ClerkUser, role: str | None, role_rank: str | None, tries: int = TRIES
    ) -> Work[Change | None]:
        if tries == 0:
            raise not_inserted("identities")
        known = yield from self._user_to_write(record.instance, record.key)
        if known is None:
            if not self._configuration.is_enough(record):
                return None
            change = yield from self._meet(record, role, role_rank)
            return change or (yield from self._put_user(record, role, role_rank, tries - 1))
        is_written = yield self._sql.upsert_identity, (*user_row(record), known.id)
        is_given = yield from self._give_role(known.id, role, role_rank)
        if not is_written and not is_given:
            return None
        if record.is_deleted or is_given:
            ((change,), _) = yield from self._tied_anew(known, record, known.id)
            return change
        after = replace(known, clerk=record)
        return Change(known, after, after)

    def _meet(self, record: ClerkUser, role: str | None, role_rank: str | None) -> Work[Change | None]:
        """A person seen for the first time: your user whom the linker names, or a new one. None if somebody else has
        just made the person known."""
        first, is_first = self._configuration.first_user, False
        if first is not None and not record.is_deleted:
            is_first = bool((yield self._sql.insert_checkpoint, (first.checkpoint, f"{record.instance} {record.key}")))
        id = first.id if first is not None and is_first else self._configuration.linked_id(record)
        if id is not None and not (yield from self._is_yours(id)):
            log_taken()
            id = None
        if id is not None:
            try:
                tied = yield from self._tie(record, id, role, role_rank)
            except UserTaken:
                log_taken()
            else:
                if tied is None and first is not None and is_first:
                    yield self._sql.delete_checkpoint, (first.checkpoint,)
                return tied[0][0] if tied is not None else None
        return (yield from self._make_user(record, role, role_rank))

    def _make_user(self, record: ClerkUser, role: str | None, role_rank: str | None) -> Work[Change | None]:
        """A new user, or None if somebody else has just made one of this person."""
        now, gone = self._configuration.now(), deleted_at([record])
        id = yield from self._insert_user(record, role, role_rank, now, gone)
        if id is None:
            if (yield from self._user_at(record.instance, record.key)) is None:
                raise id_taken()
            return None
        if not (yield self._sql.insert_identity, (*user_row(record), id)):
            yield self._sql.delete_user, (id,)
            return None
        user = User(id, role, now, gone, record)
        return Change(None, user, user)

    def _insert_user(self, record: ClerkUser, *values: Any) -> Work[Id | None]:
        """A row for a new user, and its id. None if the id that was made for it is somebody's already."""
        made = self._configuration.make_id(record)
        insert_user, _ = yield from self._numbering()
        for _ in range(TRIES):
            rows = yield insert_user, (made, *values)
            if rows or made is not None:
                return rows[0][0] if rows else None
            if self._sql.skip_user_ids:
                yield self._sql.skip_user_ids, ()
        numbers = self._configuration.numbers
        raise not_inserted("users") if numbers is None or numbers.table is None else numbers.used_up()

    def check_numbers(self) -> Work[None]:
        """Check your users table when a repository starts: it must exist, and leave room for the numbers to be made."""
        numbers = self._configuration.numbers
        if numbers is None or numbers.table is None:
            return
        if not (found := (yield self._sql.find_your_table, ())):
            raise numbers.table_missing()
        if not self._sql.dialect.next_id:
            numbers.check_column(found)
        ((greatest,),) = yield self._sql.select_greatest_of_yours, ()
        numbers.check_greatest(greatest)
        if numbers.needs_rows and self._sql.select_your_sequence:
            ((sequence, last),) = yield self._sql.select_your_sequence, ()
            numbers.check_sequence(sequence, last, greatest)

    def check_rows(self, written: Iterable[Change]) -> Work[None]:
        """To be called at the end of a transaction: each user that it made must be a row of your table."""
        numbers = self._configuration.numbers
        if numbers is not None and numbers.table is not None and numbers.needs_rows:
            for id in ids_made(written):
                if not (yield self._sql.select_row_of_yours, (id,)):
                    raise numbers.row_missing()

    def _is_yours(self, id: Id) -> Work[bool]:
        """Whether an id that a linker or a link names is one of your rows, as far as it is known where those are."""
        if not self._sql.select_row_of_yours:
            return True
        return bool((yield self._sql.select_row_of_yours, (id,)))

    def _give_role(self, id: Id, role: str | None, role_rank: str | None) -> Work[bool]:
        return role is not None and bool((yield self._sql.give_role, (role, role_rank, id, role_rank)))

    def _tie(
        self,
        record: ClerkUser,
        id: Id,
        role: str | None = None,
        role_rank: str | None = None,
        *,
        shared: bool = False,
    ) -> Work[Written[User] | None]:
        """Tie a person nobody knows to a user of yours. None if somebody else has just made them known. `UserTaken` if
        the user has other identities, and is not to be shared."""
        is_new = yield self._sql.insert_user_if_new, (id, self._configuration.now())
        rows = yield self._sql.select_id_to_write, (id,)
        others = yield from self._identities_of(id)
        if any(each.clerk.key == record.key and each.clerk.instance == record.instance for each in others):
            return None
        if not shared:  # the row is locked: of several who come at once, one finds it free
            try:
                self._configuration.check_free(record, others, rows[0][1] if rows else None)
            except UserTaken:
                # PostgreSQL shows no identity that was moved while it was waited for. It is tied, so there is no tie.
                if (yield from self._user_at(record.instance, record.key)) is not None:
                    return None
                raise
        before = spokesman(others)
        if not (yield self._sql.insert_identity, (*user_row(record), id)):
            if is_new:
                yield self._sql.delete_user, (id,)
            return None
        yield from self._give_role(id, role, role_rank)
        ((change,), after) = yield from self._tied_anew(before, record, id)
        return [replace(change, linked=True)], after

    def _tied_anew(self, before: User | None, record: ClerkUser, id: Id) -> Work[Written[User]]:
        """What follows for a user from another set of identities, one of which is this record's. The user's row is kept
        from other writers."""
        users = yield from self._identities_of(id)
        gone = deleted_at(user.clerk for user in users)
        yield self._sql.set_deleted_at, (gone, id)
        (after,) = (user for user in users if (user.clerk.instance, user.clerk.key) == (record.instance, record.key))
        after = replace(after, deleted_at=gone)
        return [Change(before, after, after, also_touches=keys_of(users))], after

    def _put_organization(self, record: ClerkOrganization, tries: int = TRIES) -> Work[Change | None]:
        if tries == 0:
            raise not_inserted("organizations")
        rows = yield self._sql.select_organization_to_write, (record.instance, record.key)
        if rows:
            before = organization_of(rows[0])
            written = yield self._sql.upsert_organization, (*organization_row(record), before.id)
            after = Organization(before.id, record)
            return Change(before, after, organization=after) if written else None
        made = self._configuration.make_id(record)
        rows = yield self._sql.insert_organization, (*organization_row(record), made)
        if not rows:
            if (yield from self._organization_at(record.instance, record.key)) is None:
                if made is not None:
                    raise id_taken()
                if self._sql.skip_organization_ids:
                    yield self._sql.skip_organization_ids, ()
            return (yield from self._put_organization(record, tries - 1))
        organization = Organization(rows[0][0], record)
        return Change(None, organization, organization=organization)

    def _put_membership(self, record: ClerkMembership) -> Work[Change | None]:
        said = yield from self._memberships_of(record.instance, record.user_key, record.organization_key)
        if not (yield self._sql.upsert_membership, membership_row(record)):
            return None
        before = last_word(said)
        after = last_word([*(each for each in said if each.key != record.key), record])
        assert after is not None
        return Change(None if before is None else Membership(before), Membership(after))

    def _put_session(self, record: ClerkSession) -> Work[Change | None]:
        forgotten = self._configuration.forgotten_below()
        if record.rank < forgotten:
            return None
        is_new = yield self._sql.insert_session, session_row(record)
        if not is_new:  # it was over before
            yield self._sql.upsert_session, session_row(record)
        yield self._sql.forget_sessions, (forgotten,)
        return Change(None, Session(record)) if is_new else None

    def _with_ends(self, written: list[Change]) -> Work[list[Change]]:
        """The same changes, those of memberships with the user and the organization that they are about."""
        news = [change.after.clerk for change in written if isinstance(change.after, Membership) and change.is_news]
        people = sorted({(clerk.instance, clerk.user_key) for clerk in news})
        places = sorted({(clerk.instance, clerk.organization_key) for clerk in news})
        users = yield from self._users_at(people, self._sql.select_users)
        organizations = yield from self._organizations_at(places, self._sql.select_organizations)
        complete: list[Change] = []
        for change in written:
            clerk = change.after.clerk
            if isinstance(clerk, ClerkMembership) and change.is_news:
                user = users.get((clerk.instance, clerk.user_key))
                organization = organizations.get((clerk.instance, clerk.organization_key))
                change = replace(change, user=user, organization=organization)
            complete.append(change)
        return complete
