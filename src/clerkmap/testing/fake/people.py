"""What can be done to people at the made-up Clerk, and to their sessions and metadata."""

import copy
from collections.abc import Iterable
from typing import Any, Literal, cast

from ...core.strict_json import fields
from .objects import (
    ClerkRefuses,
    FakeAddress,
    FakeMembership,
    FakeOrganization,
    FakeSession,
    FakeUser,
    Metadata,
)
from .shapes import deleted_shape, session_shape, user_shape
from .store import Ledger, check_parameters, one_at_a_time

WEEK = 7 * 86_400_000
SETTABLE = ("first_name", "last_name", "username", "external_id", "primary_address_id", "created_at")
SESSION_ENDS = Literal["ended", "removed", "revoked"]


class People(Ledger):
    """A ledger whose people sign up, change, sign in, are banned and deleted."""

    @one_at_a_time
    def create_user(
        self,
        email: str | None = None,
        *more_emails: str,
        first_name: str | None = None,
        last_name: str | None = None,
        username: str | None = None,
        external_id: str | None = None,
        verified: bool = True,
        public_metadata: Metadata | None = None,
        private_metadata: Metadata | None = None,
        unsafe_metadata: Metadata | None = None,
        banned: bool = False,
        locked: bool = False,
        created_at: int | None = None,
        id: str | None = None,
    ) -> FakeUser:
        """Sign a person up. Their id is made from the seed, unless you give one. The first address is the primary."""
        self._must_be_new(self.users, id)
        user = FakeUser(id or self.new_id("user"), first_name, last_name, username, external_id)
        emails = () if email is None else (email, *more_emails)
        named = [("username", username), ("external_id", external_id), *(("email_address", each) for each in emails)]
        self._take(user.id, *named)
        user.created_at = self.moment() if created_at is None else created_at
        user.addresses = [self._address(each, verified) for each in emails]
        user.primary_address_id = user.addresses[0].id if user.addresses else None
        user.banned, user.locked = banned, locked
        user.public_metadata = copy.deepcopy(public_metadata or {})
        user.private_metadata = copy.deepcopy(private_metadata or {})
        user.unsafe_metadata = copy.deepcopy(unsafe_metadata or {})
        self.users[user.id] = user
        return self._user_changed(user, "user.created")

    @one_at_a_time
    def update_user(self, user: FakeUser, /, **said: Any) -> FakeUser:
        """Change a person's first_name, last_name, username, external_id or primary_address_id."""
        self.must_be_here(user)
        check_parameters(said, SETTABLE)
        primary = said.get("primary_address_id")
        if primary is not None and not any(each.id == primary and each.verified for each in user.addresses):
            raise ClerkRefuses(422, "form_param_value_invalid", "That is no verified address", "primary_address_id")
        self._change(user, said, "username", "external_id")
        self._set(user, said, SETTABLE)
        return self._user_changed(user)

    @one_at_a_time
    def add_address(self, user: FakeUser, email: str, *, verified: bool = True, primary: bool = False) -> FakeAddress:
        """Give a person another e-mail address."""
        self.must_be_here(user)
        if any(each.address.lower() == email.lower() for each in user.addresses):
            raise ClerkRefuses(422, "form_identifier_exists", "That is taken. Please try another.", "email_address")
        self._take(user.id, ("email_address", email))
        address = self._address(email, verified)
        user.addresses = [*user.addresses, address]
        if primary:
            user.primary_address_id = address.id
        self._user_changed(user)
        return address

    @one_at_a_time
    def remove_address(self, user: FakeUser, address: FakeAddress) -> None:
        """Take an address away. If it was the primary one, the first of the others is."""
        self.must_be_here(user)
        if address not in user.addresses:
            raise ClerkRefuses(404, "resource_not_found", f"No email address was found with id {address.id}")
        self._free("email_address", address.address)
        user.addresses = [each for each in user.addresses if each is not address]
        if user.primary_address_id == address.id:
            user.primary_address_id = user.addresses[0].id if user.addresses else None
        self._user_changed(user)

    @one_at_a_time
    def ban(self, user: FakeUser) -> None:
        """Ban a person, which revokes their sessions."""
        self.must_be_here(user)
        user.banned = True
        self._shut_out(user)

    @one_at_a_time
    def unban(self, user: FakeUser) -> None:
        """Let a person in again."""
        self.must_be_here(user)
        user.banned = False
        self._user_changed(user)

    @one_at_a_time
    def lock(self, user: FakeUser, *, locked: bool = True) -> None:
        """Lock a person out for an hour, as Clerk does after too many wrong passwords; or unlock them."""
        self.must_be_here(user)
        user.locked = locked
        self._user_changed(user)

    @one_at_a_time
    def deprovision(self, user: FakeUser, *, deprovisioned: bool = True) -> None:
        """Let a company's directory shut a person out, which revokes their sessions; or let them in again."""
        self.must_be_here(user)
        user.deprovisioned = deprovisioned
        if deprovisioned:
            self._shut_out(user)
        else:
            self._user_changed(user)

    @one_at_a_time
    def delete_user(self, user: FakeUser) -> None:
        """Delete a person for good, and with them their memberships and sessions, of which Clerk says nothing."""
        self.must_be_here(user)
        del self.users[user.id]
        for address in user.addresses:
            self._free("email_address", address.address)
        self._free("username", user.username)
        self._free("external_id", user.external_id)
        for membership in self.memberships_of(user):
            self._leave(membership)
        for session in self.sessions_of(user):
            del self.sessions[session.id]
        self.say("user.deleted", deleted_shape("user", user.id, external_id=user.external_id))

    # Metadata

    @one_at_a_time
    def merge_metadata(self, whose: FakeUser | FakeOrganization | FakeMembership, /, **said: Metadata | None) -> None:
        """Merge into `public_metadata`, `private_metadata` or `unsafe_metadata`: deep, and None deletes a key."""
        kinds = self._kinds_of_metadata(whose, said)
        self._set(whose, {kind: merged(getattr(whose, kind), patch or {}) for kind, patch in said.items()}, kinds)
        self._metadata_changed(whose)

    @one_at_a_time
    def replace_metadata(self, whose: FakeUser | FakeOrganization, /, **said: Metadata | None) -> None:
        """Replace each kind of metadata that is given, as a whole."""
        kinds = self._kinds_of_metadata(whose, said)
        self._set(whose, {kind: copy.deepcopy(value) for kind, value in said.items()}, kinds)
        self._metadata_changed(whose)

    def _kinds_of_metadata(
        self, whose: FakeUser | FakeOrganization | FakeMembership, said: Iterable[str]
    ) -> tuple[str, ...]:
        self.must_be_here(whose)
        kinds = ("public_metadata", "private_metadata", *(("unsafe_metadata",) if isinstance(whose, FakeUser) else ()))
        check_parameters(said, kinds)
        return kinds

    def _metadata_changed(self, whose: FakeUser | FakeOrganization | FakeMembership) -> None:
        """Say it as the change of whatever the metadata belong to."""
        if isinstance(whose, FakeUser):
            self._user_changed(whose)

    # Sessions

    @one_at_a_time
    def sign_in(
        self,
        user: FakeUser,
        organization: FakeOrganization | None = None,
        *,
        pending: bool = False,
        actor: dict[str, Any] | None = None,
    ) -> FakeSession:
        """Sign a person in: a session of theirs, with an organization active if you like."""
        self.must_be_here(user, *([organization] if organization else []))
        if user.banned or user.deprovisioned:
            raise ClerkRefuses(403, "user_banned", "The user is banned")
        session = FakeSession(self.new_id("sess"), user.id, self.new_id("client"), "pending" if pending else "active")
        session.organization_id = organization.id if organization else None
        session.actor = actor
        session.created_at = session.updated_at = user.last_sign_in_at = user.last_active_at = self.moment()
        session.expires_at = session.created_at + WEEK
        session.abandoned_at = session.created_at + 4 * WEEK
        self.sessions[session.id] = session
        self.say("session.pending" if pending else "session.created", session_shape(session, user))
        return session

    @one_at_a_time
    def end_session(self, session: FakeSession, how: SESSION_ENDS = "ended") -> None:
        """End a session: `ended` or `removed` by the person, `revoked` by the application. What is over stays so."""
        self.must_be_here(session)
        if session.status in ("active", "pending"):
            session.status = how
            session.updated_at = self.moment()
            self.say(f"session.{how}", session_shape(session, self.users[session.user_id]))

    def _user_changed(self, user: FakeUser, event: str = "user.updated") -> FakeUser:
        user.updated_at = self.moment()
        self.say(event, user_shape(user))
        return user

    def _shut_out(self, user: FakeUser) -> None:
        self._user_changed(user)
        for session in self.sessions_of(user):
            self.end_session(session, "revoked")

    def _address(self, email: str, verified: bool) -> FakeAddress:
        now = self.moment()
        return FakeAddress(self.new_id("idn"), email, verified, now, now)


def merged(before: Metadata, patch: Metadata) -> Metadata:
    """Metadata with a patch merged into it, at every level. None takes a key away."""
    after = copy.deepcopy(fields(before))  # metadata can have been replaced by null
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, dict):
            after[name] = merged(fields(after.get(name)), cast(Metadata, value))
        else:
            after[name] = copy.deepcopy(value)
    return after
