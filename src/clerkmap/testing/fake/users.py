"""Changes of users at the fake Clerk, of their addresses, and of their sessions."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from ...core.strict_json import fields
from .objects import ClerkRefuses, FakeAddress, FakeOrganization, FakeSession, FakeUser, Metadata
from .shapes import deleted_shape, session_shape, user_shape
from .store import Store, assign, check_parameters, serialized

WEEK = 7 * 86_400_000
SETTABLE = ("first_name", "last_name", "username", "external_id", "primary_address_id", "created_at")
METADATA = ("public_metadata", "private_metadata", "unsafe_metadata")
SessionEnd = Literal["ended", "removed", "revoked"]


class UserDirectory:
    """Creates, changes, signs in, bans and deletes users."""

    def __init__(self, store: Store) -> None:
        self.store: Store = store

    @serialized
    def create(
        self, user: FakeUser, emails: Iterable[str] = (), *, verified: bool = True, created_at: int | None = None
    ) -> FakeUser:
        """Store a new user. A user without an id gets one; the first address becomes the primary address."""
        self.store.require_new(self.store.users, user.id)
        user.id = user.id or self.store.new_id("user")
        emails = list(emails)
        names = [("username", user.username), ("external_id", user.external_id)]
        self.store.claim(user.id, *names, *(("email_address", each) for each in emails))
        user.created_at = self.store.moment() if created_at is None else created_at
        user.addresses = [self._address(each, verified) for each in emails]
        user.primary_address_id = user.addresses[0].id if user.addresses else None
        for kind in METADATA:
            value: Metadata | None = getattr(user, kind)
            setattr(user, kind, copy.deepcopy(value or {}))
        self.store.users[user.id] = user
        return self._changed(user, "user.created")

    @serialized
    def update(self, user: FakeUser, /, **changes: Any) -> FakeUser:
        """Change attributes of a user: those in `SETTABLE`."""
        self.store.require(user)
        check_parameters(changes, SETTABLE)
        primary = changes.get("primary_address_id")
        if primary is not None and not any(each.id == primary and each.verified for each in user.addresses):
            raise ClerkRefuses(422, "form_param_value_invalid", "That is no verified address", "primary_address_id")
        self.store.replace_unique(user, changes, "username", "external_id")
        assign(user, changes, SETTABLE)
        return self._changed(user)

    @serialized
    def add_address(self, user: FakeUser, email: str, *, verified: bool = True, primary: bool = False) -> FakeAddress:
        """Add an email address to a user."""
        self.store.require(user)
        if any(each.address.lower() == email.lower() for each in user.addresses):
            raise ClerkRefuses(422, "form_identifier_exists", "That is taken. Please try another.", "email_address")
        self.store.claim(user.id, ("email_address", email))
        address = self._address(email, verified)
        user.addresses = [*user.addresses, address]
        if primary:
            user.primary_address_id = address.id
        self._changed(user)
        return address

    @serialized
    def remove_address(self, user: FakeUser, address: FakeAddress) -> None:
        """Remove an email address. If it was the primary one, the first of the others becomes primary."""
        self.store.require(user)
        if address not in user.addresses:
            raise ClerkRefuses(404, "resource_not_found", f"No email address was found with id {address.id}")
        self.store.release("email_address", address.address)
        user.addresses = [each for each in user.addresses if each is not address]
        if user.primary_address_id == address.id:
            user.primary_address_id = user.addresses[0].id if user.addresses else None
        self._changed(user)

    @serialized
    def ban(self, user: FakeUser) -> None:
        """Ban a user and revoke the user's sessions."""
        self.store.require(user)
        user.banned = True
        self._changed(user)
        self._revoke_sessions(user)

    @serialized
    def unban(self, user: FakeUser) -> None:
        """Lift a ban."""
        self.store.require(user)
        user.banned = False
        self._changed(user)

    @serialized
    def lock(self, user: FakeUser, locked: bool) -> None:
        """Lock or unlock a user."""
        self.store.require(user)
        user.locked = locked
        self._changed(user)

    @serialized
    def deprovision(self, user: FakeUser, deprovisioned: bool) -> None:
        """Deprovision a user and revoke the user's sessions, or provision the user again."""
        self.store.require(user)
        user.deprovisioned = deprovisioned
        self._changed(user)
        if deprovisioned:
            self._revoke_sessions(user)

    @serialized
    def delete(self, user: FakeUser) -> None:
        """Delete a user, with memberships and sessions. Clerk sends no events for those."""
        self.store.require(user)
        del self.store.users[user.id]
        for address in user.addresses:
            self.store.release("email_address", address.address)
        self.store.release("username", user.username)
        self.store.release("external_id", user.external_id)
        for membership in self.store.memberships_of(user):
            self.store.remove_membership(membership)
        for session in self.store.sessions_of(user):
            del self.store.sessions[session.id]
        self.store.say("user.deleted", deleted_shape("user", user.id, external_id=user.external_id))

    @serialized
    def merge_metadata(self, user: FakeUser, patches: Mapping[str, Metadata | None]) -> None:
        """Merge each patch into the metadata of its kind."""
        self.store.require(user)
        assign(user, merged_kinds(user, patches, METADATA), METADATA)
        self._changed(user)

    @serialized
    def replace_metadata(self, user: FakeUser, values: Mapping[str, Metadata | None]) -> None:
        """Replace each given kind of metadata as a whole."""
        self.store.require(user)
        assign(user, copy.deepcopy(dict(values)), METADATA)
        self._changed(user)

    # Sessions

    @serialized
    def sign_in(
        self,
        user: FakeUser,
        organization: FakeOrganization | None = None,
        *,
        pending: bool = False,
        actor: dict[str, Any] | None = None,
    ) -> FakeSession:
        """Start a session."""
        store = self.store
        store.require(user, *([organization] if organization else []))
        if user.banned or user.deprovisioned:
            raise ClerkRefuses(403, "user_banned", "The user is banned")
        session = FakeSession(store.new_id("sess"), user.id, store.new_id("client"), "pending" if pending else "active")
        session.organization_id = organization.id if organization else None
        session.actor = actor
        session.created_at = session.updated_at = user.last_sign_in_at = user.last_active_at = store.moment()
        session.expires_at = session.created_at + WEEK
        session.abandoned_at = session.created_at + 4 * WEEK
        store.sessions[session.id] = session
        store.say("session.pending" if pending else "session.created", session_shape(session, user))
        return session

    @serialized
    def end_session(self, session: FakeSession, how: SessionEnd) -> None:
        """End a session. A session that has ended stays as it is."""
        self.store.require(session)
        if session.status in ("active", "pending"):
            session.status = how
            session.updated_at = self.store.moment()
            self.store.say(f"session.{how}", session_shape(session, self.store.users[session.user_id]))

    def _changed(self, user: FakeUser, event: str = "user.updated") -> FakeUser:
        user.updated_at = self.store.moment()
        self.store.say(event, user_shape(user))
        return user

    def _revoke_sessions(self, user: FakeUser) -> None:
        for session in self.store.sessions_of(user):
            self.end_session(session, "revoked")

    def _address(self, email: str, verified: bool) -> FakeAddress:
        now = self.store.moment()
        return FakeAddress(self.store.new_id("idn"), email, verified, now, now)


def merged_kinds(row: object, patches: Mapping[str, Metadata | None], kinds: tuple[str, ...]) -> dict[str, Metadata]:
    """Return the metadata of a row with a patch merged into each kind that has one."""
    check_parameters(patches, kinds)
    return {kind: merged(getattr(row, kind), patch or {}) for kind, patch in patches.items()}


def merged(before: Metadata, patch: Metadata) -> Metadata:
    """Return metadata with a patch merged in at every level. None in the patch deletes a key."""
    after = copy.deepcopy(fields(before))  # metadata can have been replaced by null
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, dict):
            after[name] = merged(fields(after.get(name)), cast(Metadata, value))
        else:
            after[name] = copy.deepcopy(value)
    return after
