"""Changes of organizations, memberships, roles and invitations at the fake Clerk."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from .objects import ClerkRefuses, FakeInvitation, FakeMembership, FakeOrganization, FakeRole, FakeUser, Metadata
from .shapes import deleted_shape, public_organization_shape
from .store import Store, assign, check_parameters, serialized
from .users import UserDirectory, merged_kinds

MONTH = 30 * 86_400  # seconds
SETTABLE = ("name", "slug", "max_allowed_memberships", "admin_delete_enabled", "created_at")
METADATA = ("public_metadata", "private_metadata")


class MemberOptions(TypedDict, total=False):
    """The options of `FakeClerk.add_member`. The role is `org:member` by default."""

    role: str
    public_metadata: Metadata | None
    private_metadata: Metadata | None


class InvitationOptions(MemberOptions, total=False):
    """The options of `FakeClerk.invite`: those of `MemberOptions`, and these.

    inviter: The user that has sent the invitation.
    expires_in: The lifetime in seconds; 30 days by default.
    """

    inviter: FakeUser | None
    expires_in: int


def check_role(role: str) -> None:
    """Refuse a role without the prefix that each role of Clerk has."""
    if not role.startswith("org:"):
        raise ClerkRefuses(422, "form_param_value_invalid", "a role is org: and its name, such as org:admin", "role")


class OrganizationDirectory:
    """Creates, changes and deletes organizations, memberships and invitations."""

    def __init__(self, store: Store, users: UserDirectory) -> None:
        self.store: Store = store
        self._users = users

    @serialized
    def create(
        self, organization: FakeOrganization, created_by: FakeUser | None = None, *, created_at: int | None = None
    ) -> FakeOrganization:
        """Store a new organization. It gets an id and a slug unless it has them; its creator becomes an admin."""
        store = self.store
        store.require_new(store.organizations, organization.id)
        if created_by is not None:
            store.require(created_by)
        organization.id = organization.id or store.new_id("org")
        if not organization.slug:
            organization.slug = organization.name.lower().replace(" ", "-")
            if store.owner("slug", organization.slug):
                organization.slug = f"{organization.slug}-{organization.id[-6:].lower()}"
        store.claim(organization.id, ("slug", organization.slug))
        organization.created_by = created_by.id if created_by else None
        for kind in METADATA:
            value: Metadata | None = getattr(organization, kind)
            setattr(organization, kind, copy.deepcopy(value or {}))
        organization.created_at = store.moment() if created_at is None else created_at
        store.organizations[organization.id] = organization
        self._changed(organization, "organization.created")
        if created_by is not None:
            self.add_member(organization, created_by, role="org:admin")
        return organization

    @serialized
    def update(self, organization: FakeOrganization, /, **changes: Any) -> FakeOrganization:
        """Change attributes of an organization: those in `SETTABLE`."""
        self.store.require(organization)
        check_parameters(changes, SETTABLE)
        self.store.replace_unique(organization, changes, "slug")
        assign(organization, changes, SETTABLE)
        return self._changed(organization)

    @serialized
    def delete(self, organization: FakeOrganization) -> None:
        """Delete an organization, with memberships and invitations. Clerk sends no events for those."""
        store = self.store
        store.require(organization)
        del store.organizations[organization.id]
        store.release("slug", organization.slug)
        for membership in store.members_of(organization):
            store.remove_membership(membership)
        for invitation in store.invitations_to(organization):
            del store.invitations[invitation.id]
        store.say("organization.deleted", deleted_shape("organization", organization.id, slug=organization.slug))

    @serialized
    def merge_metadata(self, row: FakeOrganization | FakeMembership, patches: Mapping[str, Metadata | None]) -> None:
        """Merge each patch into the metadata of its kind."""
        self.store.require(row)
        assign(row, merged_kinds(row, patches, METADATA), METADATA)
        if isinstance(row, FakeOrganization):
            self._changed(row)
        else:
            self._membership_changed(row)

    @serialized
    def replace_metadata(self, organization: FakeOrganization, values: Mapping[str, Metadata | None]) -> None:
        """Replace each given kind of metadata as a whole."""
        self.store.require(organization)
        assign(organization, copy.deepcopy(dict(values)), METADATA)
        self._changed(organization)

    # Memberships

    @serialized
    def add_member(
        self,
        organization: FakeOrganization,
        user: FakeUser,
        *,
        role: str = "org:member",
        public_metadata: Metadata | None = None,
        private_metadata: Metadata | None = None,
    ) -> FakeMembership:
        """Make a user a member, or give a member another role."""
        check_role(role)
        store = self.store
        store.require(organization, user)
        membership = store.membership(organization, user)
        if membership is not None:
            membership.role = role
            return self._membership_changed(membership)
        membership = FakeMembership(store.new_id("orgmem"), organization.id, user.id, role)
        membership.public_metadata = copy.deepcopy(public_metadata or {})
        membership.private_metadata = copy.deepcopy(private_metadata or {})
        membership.created_at = store.moment()
        store.add_membership(membership)
        return self._membership_changed(membership, "organizationMembership.created")

    @serialized
    def remove_member(self, organization: FakeOrganization, user: FakeUser) -> FakeMembership:
        """Remove a member."""
        self.store.require(organization, user)
        membership = self.store.membership(organization, user)
        if membership is None:
            raise ClerkRefuses(404, "resource_not_found", "The user is not a member of the organization")
        self.store.remove_membership(membership)
        self.store.say("organizationMembership.deleted", self.store.event_shape(membership))
        return membership

    def create_role(self, key: str, permissions: Iterable[str], name: str | None) -> FakeRole:
        """Create or replace a role."""
        check_role(key)
        role = FakeRole(key, name or key.removeprefix("org:").title(), tuple(permissions))
        self.store.roles[key] = role
        return role

    # Invitations

    @serialized
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
        """Invite an email address to an organization."""
        check_role(role)
        store = self.store
        store.require(organization, *([inviter] if inviter else []))
        inviter_id = inviter.id if inviter else None
        invitation = FakeInvitation(store.new_id("orginv"), organization.id, email, role, inviter_id)
        invitation.public_metadata = copy.deepcopy(public_metadata or {})
        invitation.private_metadata = copy.deepcopy(private_metadata or {})
        invitation.created_at = store.moment()
        invitation.expires_at = invitation.created_at + expires_in * 1000
        store.invitations[invitation.id] = invitation
        return self._invitation_changed(invitation, "organizationInvitation.created")

    @serialized
    def accept_invitation(self, invitation: FakeInvitation, user: FakeUser | None = None) -> FakeUser:
        """Accept an invitation as this user, as the owner of its address, or as a new user."""
        store = self.store
        self._require_pending(invitation)
        if user is not None:
            store.require(user)
        organization = store.organizations[invitation.organization_id]
        known = store.owner("email_address", invitation.email)
        if user is None:
            user = store.users[known] if known else self._users.create(FakeUser(""), [invitation.email])
        invitation.status, invitation.user_id = "accepted", user.id
        self._invitation_changed(invitation, "organizationInvitation.accepted")
        metadata = {"public_metadata": invitation.public_metadata, "private_metadata": invitation.private_metadata}
        self.add_member(organization, user, role=invitation.role, **metadata)
        return user

    @serialized
    def revoke_invitation(self, invitation: FakeInvitation) -> FakeInvitation:
        """Revoke a pending invitation."""
        self._require_pending(invitation)
        invitation.status = "revoked"
        return self._invitation_changed(invitation, "organizationInvitation.revoked")

    def _require_pending(self, invitation: FakeInvitation) -> None:
        self.store.require(invitation)
        if invitation.status == "pending" and invitation.expires_at <= self.store.moment():
            invitation.status = "expired"  # Clerk sends no event for this
        if invitation.status != "pending":
            raise ClerkRefuses(400, "organization_invitation_not_pending", "The invitation is not pending")

    # Events

    def _changed(self, organization: FakeOrganization, event: str = "organization.updated") -> FakeOrganization:
        organization.updated_at = self.store.moment()
        self.store.say(event, self.store.counted_shape(organization))
        return organization

    def _membership_changed(
        self, membership: FakeMembership, event: str = "organizationMembership.updated"
    ) -> FakeMembership:
        membership.updated_at = self.store.moment()
        self.store.say(event, self.store.event_shape(membership))
        return membership

    def _invitation_changed(self, invitation: FakeInvitation, event: str) -> FakeInvitation:
        invitation.updated_at = self.store.moment()
        organization = self.store.organizations[invitation.organization_id]
        data = self.store.shape(invitation) | {"data": public_organization_shape(organization)}
        if event == "organizationInvitation.accepted":
            data["user_id"] = invitation.user_id
        self.store.say(event, data)
        return invitation
