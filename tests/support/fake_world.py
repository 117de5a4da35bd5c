"""A small Clerk for the tests of what can be done there."""

from typing import Any

from clerkmap.testing import Clock, FakeClerk

NOW = 1_790_000_000


class World:
    """A Clerk with a person and an organization, things of it that are gone, and the same things at another Clerk."""

    def __init__(self) -> None:
        self.clerk = clerk = FakeClerk(seed=8, clock=Clock(NOW))
        self.ada = clerk.create_user("ada@example.com", username="ada", external_id="x1")
        self.acme = clerk.create_organization("Acme", created_by=self.ada)
        self.other = clerk.create_organization("Other")
        self.bea = clerk.create_user("bea@example.com", username="bea")
        self.gone = clerk.create_user("gone@example.com")
        self.closed = clerk.create_organization("Closed", created_by=self.ada)
        self.void = clerk.invite(self.closed, "cid@example.com")
        self.lost = clerk.sign_in(self.gone)
        clerk.delete_user(self.gone)
        clerk.delete_organization(self.closed)
        self.invitation = clerk.invite(self.acme, "cid@example.com")
        self.session = clerk.sign_in(self.ada)
        self.accepted = clerk.invite(self.acme, "dee@example.com")
        clerk.accept_invitation(self.accepted)

    def state(self) -> list[Any]:
        """All there is, and how much was said of it."""
        clerk = self.clerk
        tables = (clerk.users, clerk.organizations, clerk.memberships, clerk.invitations, clerk.sessions)
        shapes = [clerk.shape(each) for table in tables for each in table.values()]
        return [shapes, len(clerk.wire.messages), len(clerk.machine_tokens)]
