"""The caller of signed-in requests: a user, an organization, a session, and the content of the tokens."""

from dataclasses import dataclass
from typing import Any

from .objects import FakeOrganization, FakeSession, FakeUser
from .organizations import OrganizationDirectory
from .tokens import TokenOptions, Tokens
from .users import UserDirectory


@dataclass(frozen=True)
class Caller:
    """The user of requests, and the options of `Tokens.token` for their tokens."""

    user: FakeUser
    organization: FakeOrganization | None
    session: FakeSession | None
    token: dict[str, Any]


class Callers:
    """Chooses the caller of requests, and makes it a member and signs it in where that is missing."""

    def __init__(self, users: UserDirectory, organizations: OrganizationDirectory, tokens: Tokens) -> None:
        self.default: Caller | None = None
        self._store = users.store
        self._users = users
        self._organizations = organizations
        self._tokens = tokens

    def any_user(self) -> FakeUser:
        """Return the first user; create one if there is none."""
        with self._store.changing:
            first = next(iter(self._store.users.values()), None)
            return first or self._users.create(FakeUser(""), ["somebody@example.com"])

    def caller(self, user: FakeUser | None, organization: FakeOrganization | None, options: TokenOptions) -> Caller:
        """Return the caller for these arguments, a member of the organization with a session."""
        if user is not None:
            check_user(user)
        token: dict[str, Any] = {**options}
        role: str | None = token.pop("role", None)  # that of the membership
        with self._store.changing:
            default = (self.default if user is None else None) or Caller(user or self.any_user(), None, None, {})
            organization = organization or default.organization
            if organization is None and (role is not None or token.get("permissions") is not None):
                first = next(iter(self._store.organizations.values()), None)
                organization = first or self._organizations.create(FakeOrganization("", "Acme", ""))
            chosen = default.user if user else self._user_with_role(default.user, organization, role)
            token = default.token | token if chosen is default.user else token
            return Caller(chosen, organization, self._session(chosen, organization, role), token)

    def bearer(self, caller: Caller) -> str:
        """Return an `Authorization` header with a new token."""
        options: dict[str, Any] = {"session": caller.session} | caller.token
        return f"Bearer {self._tokens.token(caller.user, caller.organization, **options)}"

    def _user_with_role(self, user: FakeUser, organization: FakeOrganization | None, role: str | None) -> FakeUser:
        """Return the user, or another user if this one is a member with another role.

        Two tokens of the same second have the same rank, so a user with two roles in them would keep the first role.
        """
        membership = self._store.membership(organization, user) if organization is not None else None
        if organization is None or membership is None or role in (None, membership.role):
            return user
        for each in self._store.members_of(organization):
            if each.role == role:
                return self._store.users[each.user_id]
        email = f"{str(role).removeprefix('org:')}@{organization.slug}.example.com"
        known = self._store.owner("email_address", email)
        return self._store.users[known] if known else self._users.create(FakeUser(""), [email])

    def _session(self, user: FakeUser, organization: FakeOrganization | None, role: str | None) -> FakeSession | None:
        """Make the user a member with the role, and return the user's newest session. None for a deleted user."""
        if user.id not in self._store.users:
            return None
        if organization is not None and organization.id in self._store.organizations:
            membership = self._store.membership(organization, user)
            if membership is None or role not in (None, membership.role):
                self._organizations.add_member(organization, user, role=role or "org:member")
        if not self._store.sessions_of(user) and not user.banned:
            self._users.sign_in(user, organization)
        return next(reversed(self._store.sessions_of(user)), None)


def check_user(user: object) -> None:
    """Refuse what is no user, such as an address."""
    if not isinstance(user, FakeUser):
        raise TypeError(f"pass the user that create_user(...) has returned, not {type(user).__name__}")
