"""Signed-in requests: whose they are where a test does not say, and what that takes at the made-up Clerk."""

from dataclasses import dataclass
from typing import Any, TypeVar

from ..clients import renewing
from .objects import FakeOrganization, FakeSession, FakeUser
from .tokens import Mint

Client = TypeVar("Client")


@dataclass(frozen=True)
class _Caller:
    """Whose requests they are, and what their tokens say besides."""

    user: FakeUser
    organization: FakeOrganization | None
    session: FakeSession | None
    token: dict[str, Any]


class Callers(Mint):
    """A mint that hands its tokens out as what a test needs: headers, and clients that are signed in."""

    _caller: _Caller | None = None

    def auth(
        self,
        user: FakeUser | None = None,
        organization: FakeOrganization | None = None,
        *,
        role: str | None = None,
        **token: Any,
    ) -> dict[str, str]:
        """The headers of a signed-in request: `client.get("/", headers=clerk.auth())`.

        Who is not named is the caller that was set, or `somebody()`; somebody else, if these have another role. They
        become a member of the organization. Where only a role or permissions are given, it is the first one there is,
        or `Acme`. The session is their newest one, or their first. The rest is for `token`.
        """
        return {"Authorization": self._bearer(self._settle(user, organization, role, token))}

    def signed_in(
        self,
        client: Client,
        user: FakeUser | None = None,
        organization: FakeOrganization | None = None,
        *,
        role: str | None = None,
        **token: Any,
    ) -> Client:
        """The same test client, signed in as whom `auth` would take: a fresh token is on each request from now on.

        It may be of httpx, Starlette, FastAPI, Django or Flask. A request that brings its own header keeps it.
        """
        caller = self._settle(user, organization, role, token)
        return renewing(client, lambda: self._bearer(caller))

    def set_caller(
        self,
        user: FakeUser | None = None,
        organization: FakeOrganization | None = None,
        *,
        role: str | None = None,
        **token: Any,
    ) -> None:
        """Say who `auth` and `signed_in` mean from now on where nobody is named, and what is in their tokens."""
        self._caller = self._settle(user, organization, role, token)

    def somebody(self) -> FakeUser:
        """A person to be when it does not matter who: the first one, who is made if nobody is there."""
        with self.changing:
            return next(iter(self.users.values()), None) or self.create_user("somebody@example.com")

    def _settle(
        self, user: FakeUser | None, organization: FakeOrganization | None, role: str | None, token: dict[str, Any]
    ) -> _Caller:
        """The caller whom these arguments mean, with their place in the organization, and a session."""
        with self.changing:
            named = user is not None
            usual = (self._caller if user is None else None) or _Caller(user or self.somebody(), None, None, {})
            organization = organization or usual.organization
            if organization is None and (role is not None or token.get("permissions") is not None):
                organization = next(iter(self.organizations.values()), None) or self.create_organization("Acme")
            who = usual.user if named else self._who_could_be(usual.user, organization, role)
            said = usual.token | token if who is usual.user else token
            return _Caller(who, organization, self._arrived(who, organization, role), said)

    def _who_could_be(self, user: FakeUser, organization: FakeOrganization | None, role: str | None) -> FakeUser:
        """The person, or another one who has the role. Of two tokens made within a second, none is the newer one: who
        had two roles in them would keep the first."""
        held = self.membership(organization, user) if organization is not None else None
        if organization is None or held is None or role in (None, held.role):
            return user
        for each in self.members_of(organization):
            if each.role == role:
                return self.users[each.user_id]
        email = f"{str(role).removeprefix('org:')}@{organization.slug}.example.com"
        known = self.owner("email_address", email)
        return self.users[known] if known else self.create_user(email)

    def _arrived(self, user: FakeUser, organization: FakeOrganization | None, role: str | None) -> FakeSession | None:
        """Make the person a member, in the role, and tell their session. Who is deleted has nothing but old tokens."""
        if user.id not in self.users:
            return None
        if organization is not None and organization.id in self.organizations:
            held = self.membership(organization, user)
            if held is None or role not in (None, held.role):
                self.add_member(organization, user, role=role or "org:member")
        if not self.sessions_of(user) and not user.banned:
            self.sign_in(user, organization)
        return next(reversed(self.sessions_of(user)), None)

    def _bearer(self, caller: _Caller) -> str:
        said: dict[str, Any] = {"session": caller.session} | caller.token
        return f"Bearer {self.token(caller.user, caller.organization, **said)}"
