"""The actions of the page on users and organizations."""

from typing import Any

from ..testing import ClerkRefuses, FakeInvitation, FakeOrganization, FakeUser
from ..testing.fake.api.users import address_in
from .instance import Box
from .requests import Result, action, found

# Users


@action
def sign_up(box: Box, email: str | None = None, first_name: str | None = None, last_name: str | None = None) -> Result:
    """Create a user. Empty fields are ignored."""
    user = box.clerk.create_user(_email(email), first_name=first_name or None, last_name=last_name or None)
    return {"user": user.id}


@action
def edit_user(
    box: Box, user: str, email: str | None = None, first_name: str | None = None, last_name: str | None = None
) -> Result:
    """Change a name or the address. A missing field stays, an empty one is cleared."""
    who = _user(box, user)
    address = _email(email)
    if address is not None and address.lower() != (who.email or "").lower():
        before = who.primary_address
        with box.clerk.silence():  # Clerk sends one event for the whole change
            box.clerk.add_address(who, address, primary=True)
            if before is not None:
                box.clerk.remove_address(who, before)
    named = {"first_name": first_name, "last_name": last_name}
    box.clerk.update_user(who, **{name: value or None for name, value in named.items() if value is not None})
    return {}


@action
def ban(box: Box, user: str) -> Result:
    """Ban a user."""
    box.clerk.ban(_user(box, user))
    return {}


@action
def unban(box: Box, user: str) -> Result:
    """Lift a ban."""
    box.clerk.unban(_user(box, user))
    return {}


@action
def delete_user(box: Box, user: str) -> Result:
    """Delete a user permanently."""
    box.clerk.delete_user(_user(box, user))
    return {}


@action
def set_metadata(
    box: Box, public_metadata: dict[str, Any], user: str | None = None, organization: str | None = None
) -> Result:
    """Merge into the public metadata of a user or an organization."""
    if (user is None) == (organization is None):
        raise ClerkRefuses(422, "form_param_missing", "Either user or organization must be included", "user")
    whose = _user(box, user) if user is not None else _organization(box, organization or "")
    box.clerk.merge_metadata(whose, public_metadata=public_metadata)
    return {}


# Organizations


@action
def create_organization(box: Box, name: str, created_by: str | None = None) -> Result:
    """Create an organization with its first member."""
    maker = _user(box, created_by) if created_by else None
    return {"organization": box.clerk.create_organization(_name(name), created_by=maker).id}


@action
def edit_organization(box: Box, organization: str, name: str) -> Result:
    """Rename an organization."""
    box.clerk.update_organization(_organization(box, organization), name=_name(name))
    return {}


@action
def delete_organization(box: Box, organization: str) -> Result:
    """Delete an organization permanently."""
    box.clerk.delete_organization(_organization(box, organization))
    return {}


@action
def add_member(box: Box, organization: str, user: str, role: str = "org:member") -> Result:
    """Add a member, or change the role of a member."""
    box.clerk.add_member(_organization(box, organization), _user(box, user), role=_role(box, role))
    return {}


@action
def remove_member(box: Box, organization: str, user: str) -> Result:
    """Remove a member."""
    box.clerk.remove_member(_organization(box, organization), _user(box, user))
    return {}


@action
def invite(box: Box, organization: str, email: str, role: str = "org:member") -> Result:
    """Invite an email address."""
    where = _organization(box, organization)
    return {"invitation": box.clerk.invite(where, address_in(email.strip()), role=_role(box, role)).id}


@action
def accept_invitation(box: Box, invitation: str) -> Result:
    """Accept an invitation."""
    return {"user": box.clerk.accept_invitation(_invitation(box, invitation)).id}


@action
def revoke_invitation(box: Box, invitation: str) -> Result:
    """Revoke an invitation."""
    box.clerk.revoke_invitation(_invitation(box, invitation))
    return {}


def _user(box: Box, id: str) -> FakeUser:
    user: FakeUser = found(box.clerk.users, id, "user")
    return user


def _organization(box: Box, id: str) -> FakeOrganization:
    organization: FakeOrganization = found(box.clerk.organizations, id, "organization")
    return organization


def _invitation(box: Box, id: str) -> FakeInvitation:
    invitation: FakeInvitation = found(box.clerk.invitations, id, "organization invitation")
    return invitation


def _email(text: str | None) -> str | None:
    """Return a valid address, or None for an empty text."""
    address = (text or "").strip()
    return address_in(address) if address else None


def _name(text: str) -> str:
    if not text.strip():
        raise ClerkRefuses(422, "form_param_nil", "The name must not be empty", "name")
    return text.strip()


def _role(box: Box, key: str) -> str:
    found(box.clerk.roles, key, "organization role")
    return key
