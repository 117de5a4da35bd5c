"""What can be done to organizations, memberships and invitations at the made-up Clerk."""

import copy
from collections.abc import Iterable
from typing import Any

from .objects import ClerkRefuses, FakeInvitation, FakeMembership, FakeOrganization, FakeRole, FakeUser, Metadata
from .people import People
from .shapes import deleted_shape, public_organization_shape
from .store import check_parameters, one_at_a_time

MONTH = 30 * 86_400_000
SETTABLE = ("name", "slug", "max_allowed_memberships", "admin_delete_enabled", "created_at")


class Organizations(People):
    """People who found organizations, join them, invite others, and leave."""

    @one_at_a_time
    def create_organization(
        self,
        name: str = "Acme",
        *,
        slug: str | None = None,
        created_by: FakeUser | None = None,
        public_metadata: Metadata | None = None,
        private_metadata: Metadata | None = None,
        max_allowed_memberships: int = 5,
        created_at: int | None = None,
        id: str | None = None,
    ) -> FakeOrganization:
        """Make an organization. Who makes one is its administrator."""
        self._must_be_new(self.organizations, id)
        if created_by is not None:
            self.must_be_here(created_by)
        id = id or self.new_id("org")
        chosen = slug or name.lower().replace(" ", "-")
        if slug is None and self.owner("slug", chosen):
            chosen = f"{chosen}-{id[-6:].lower()}"
        self._take(id, ("slug", chosen))
        organization = FakeOrganization(id, name, chosen, created_by.id if created_by else None)
        organization.public_metadata = copy.deepcopy(public_metadata or {})
        organization.private_metadata = copy.deepcopy(private_metadata or {})
        organization.max_allowed_memberships = max_allowed_memberships
        organization.created_at = self.moment() if created_at is None else created_at
        self.organizations[id] = organization
        self._organization_changed(organization, "organization.created")
        if created_by is not None:
            self.add_member(organization, created_by, role="org:admin")
        return organization

    @one_at_a_time
    def update_organization(self, organization: FakeOrganization, /, **said: Any) -> FakeOrganization:
        """Change an organization's name, slug, max_allowed_memberships or admin_delete_enabled."""
        self.must_be_here(organization)
        check_parameters(said, SETTABLE)
        self._change(organization, said, "slug")
        self._set(organization, said, SETTABLE)
        return self._organization_changed(organization)

    @one_at_a_time
    def delete_organization(self, organization: FakeOrganization) -> None:
        """Delete an organization, and with it its memberships and invitations, of which Clerk says nothing."""
        self.must_be_here(organization)
        del self.organizations[organization.id]
        self._free("slug", organization.slug)
        for membership in self.members_of(organization):
            self._leave(membership)
        for invitation in self.invitations_to(organization):
            del self.invitations[invitation.id]
        self.say("organization.deleted", deleted_shape("organization", organization.id, slug=organization.slug))

    # Memberships

    @one_at_a_time
    def add_member(
        self,
        organization: FakeOrganization,
        user: FakeUser,
        *,
        role: str = "org:member",
        public_metadata: Metadata | None = None,
        private_metadata: Metadata | None = None,
    ) -> FakeMembership:
        """Give a person a role in an organization, or another one."""
        self.must_be_here(organization, user)
        membership = self.membership(organization, user)
        if membership is not None:
            membership.role = role
            return self._membership_changed(membership)
        membership = FakeMembership(self.new_id("orgmem"), organization.id, user.id, role)
        membership.public_metadata = copy.deepcopy(public_metadata or {})
        membership.private_metadata = copy.deepcopy(private_metadata or {})
        membership.created_at = self.moment()
        self._enter(membership)
        return self._membership_changed(membership, "organizationMembership.created")

    @one_at_a_time
    def remove_member(self, organization: FakeOrganization, user: FakeUser) -> FakeMembership:
        """Take a person out of an organization. Who comes back gets another membership."""
        self.must_be_here(organization, user)
        membership = self.membership(organization, user)
        if membership is None:
            raise ClerkRefuses(404, "resource_not_found", "The user is not a member of the organization")
        self._leave(membership)
        self.say("organizationMembership.deleted", self.told_shape(membership))
        return membership

    def create_role(self, key: str, *, permissions: Iterable[str] = (), name: str | None = None) -> FakeRole:
        """Make a role, or change one: `create_role("org:editor", permissions=["org:invoices:read"])`."""
        self.roles[key] = FakeRole(key, name or key.removeprefix("org:").title(), tuple(permissions))
        return self.roles[key]

    # Invitations

    @one_at_a_time
    def invite(
        self,
        organization: FakeOrganization,
        email: str,
        *,
        role: str = "org:member",
        inviter: FakeUser | None = None,
        public_metadata: Metadata | None = None,
        private_metadata: Metadata | None = None,
        expires_in: int = MONTH,
    ) -> FakeInvitation:
        """Invite somebody into an organization, by e-mail address. The invitation lapses after thirty days."""
        self.must_be_here(organization, *([inviter] if inviter else []))
        invitation = FakeInvitation(
            self.new_id("orginv"), organization.id, email, role, inviter.id if inviter else None
        )
        invitation.public_metadata = copy.deepcopy(public_metadata or {})
        invitation.private_metadata = copy.deepcopy(private_metadata or {})
        invitation.created_at = self.moment()
        invitation.expires_at = invitation.created_at + expires_in
        self.invitations[invitation.id] = invitation
        return self._invitation_changed(invitation, "organizationInvitation.created")

    @one_at_a_time
    def accept_invitation(self, invitation: FakeInvitation, user: FakeUser | None = None) -> FakeUser:
        """Accept an invitation, as a person who is there already or as a new one. Its metadata go with them."""
        self._must_be_pending(invitation)
        if user is not None:
            self.must_be_here(user)
        organization = self.organizations[invitation.organization_id]
        known = self.owner("email_address", invitation.email)
        user = user or (self.users[known] if known else self.create_user(invitation.email))
        invitation.status, invitation.user_id = "accepted", user.id
        self._invitation_changed(invitation, "organizationInvitation.accepted")
        metadata = {"public_metadata": invitation.public_metadata, "private_metadata": invitation.private_metadata}
        self.add_member(organization, user, role=invitation.role, **metadata)
        return user

    @one_at_a_time
    def revoke_invitation(self, invitation: FakeInvitation) -> FakeInvitation:
        """Take an invitation back."""
        self._must_be_pending(invitation)
        invitation.status = "revoked"
        return self._invitation_changed(invitation, "organizationInvitation.revoked")

    def _must_be_pending(self, invitation: FakeInvitation) -> None:
        self.must_be_here(invitation)
        if invitation.status == "pending" and invitation.expires_at <= self.moment():
            invitation.status = "expired"  # of which Clerk says nothing
        if invitation.status != "pending":
            raise ClerkRefuses(400, "organization_invitation_not_pending", "The invitation is not pending")

    # How it is said

    def _metadata_changed(self, whose: FakeUser | FakeOrganization | FakeMembership) -> None:
        if isinstance(whose, FakeOrganization):
            self._organization_changed(whose)
        elif isinstance(whose, FakeMembership):
            self._membership_changed(whose)
        else:
            super()._metadata_changed(whose)

    def _organization_changed(
        self, organization: FakeOrganization, event: str = "organization.updated"
    ) -> FakeOrganization:
        organization.updated_at = self.moment()
        self.say(event, self.counted_shape(organization))
        return organization

    def _membership_changed(
        self, membership: FakeMembership, event: str = "organizationMembership.updated"
    ) -> FakeMembership:
        membership.updated_at = self.moment()
        self.say(event, self.told_shape(membership))
        return membership

    def _invitation_changed(self, invitation: FakeInvitation, event: str) -> FakeInvitation:
        invitation.updated_at = self.moment()
        told = self.shape(invitation) | {
            "data": public_organization_shape(self.organizations[invitation.organization_id])
        }
        if event == "organizationInvitation.accepted":
            told["user_id"] = invitation.user_id
        self.say(event, told)
        return invitation
