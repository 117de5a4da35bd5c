"""What can be done to people and organizations on the page, each as small as it is there."""

from typing import Any

from ..testing import ClerkRefuses, FakeInvitation, FakeOrganization, FakeUser
from ..testing.fake.api.users import address_in
from .instance import Box
from .requests import Result, action, found

# People


@action
def sign_up(box: Box, email: str | None = None, first_name: str | None = None, last_name: str | None = None) -> Result:
    """Somebody new. A field that was left empty is none."""
    user = box.clerk.create_user(_email(email), first_name=first_name or None, last_name=last_name or None)
    return {"user": user.id}


@action
def edit_user(
    box: Box, user: str, email: str | None = None, first_name: str | None = None, last_name: str | None = None
) -> Result:
    """Another name or another address: what is not given stays, what is empty goes."""
    who = _user(box, user)
    address = _email(email)
    if address is not None and address.lower() != (who.email or "").lower():
        before = who.primary_address
        with box.clerk.silence():  # of all of it, Clerk says one thing
            box.clerk.add_address(who, address, primary=True)
            if before is not None:
                box.clerk.remove_address(who, before)
    named = {"first_name": first_name, "last_name": last_name}
    box.clerk.update_user(who, **{name: value or None for name, value in named.items() if value is not None})
    return {}


@action
def ban(box: Box, user: str) -> Result:
    """Ban somebody."""
    box.clerk.ban(_user(box, user))
    return {}


@action
def unban(box: Box, user: str) -> Result:
    """Let somebody in again."""
    box.clerk.unban(_user(box, user))
    return {}


@action
def delete_user(box: Box, user: str) -> Result:
    """Delete somebody for good."""
    box.clerk.delete_user(_user(box, user))
    return {}


@action
def set_metadata(
    box: Box, public_metadata: dict[str, Any], user: str | None = None, organization: str | None = None
) -> Result:
    """Merge into somebody's public metadata, or an organization's."""
    if (user is None) == (organization is None):
        raise ClerkRefuses(422, "form_param_missing", "Either user or organization must be included", "user")
    whose = _user(box, user) if user is not None else _organization(box, organization or "")
    box.clerk.merge_metadata(whose, public_metadata=public_metadata)
    return {}


# Organizations


@action
def create_organization(box: Box, name: str, created_by: str | None = None) -> Result:
    """A new organization, whose first member is who made it."""
    maker = _user(box, created_by) if created_by else None
    return {"organization": box.clerk.create_organization(_name(name), created_by=maker).id}


@action
def edit_organization(box: Box, organization: str, name: str) -> Result:
    """Another name."""
    box.clerk.update_organization(_organization(box, organization), name=_name(name))
    return {}


@action
def delete_organization(box: Box, organization: str) -> Result:
    """Delete an organization for good."""
    box.clerk.delete_organization(_organization(box, organization))
    return {}


@action
def add_member(box: Box, organization: str, user: str, role: str = "org:member") -> Result:
    """Somebody joins, or gets another role."""
    box.clerk.add_member(_organization(box, organization), _user(box, user), role=_role(box, role))
    return {}


@action
def remove_member(box: Box, organization: str, user: str) -> Result:
    """Somebody is taken out."""
    box.clerk.remove_member(_organization(box, organization), _user(box, user))
    return {}


@action
def invite(box: Box, organization: str, email: str, role: str = "org:member") -> Result:
    """Invite somebody by address."""
    where = _organization(box, organization)
    return {"invitation": box.clerk.invite(where, address_in(email.strip()), role=_role(box, role)).id}


@action
def accept_invitation(box: Box, invitation: str) -> Result:
    """Who was invited comes."""
    return {"user": box.clerk.accept_invitation(_invitation(box, invitation)).id}


@action
def revoke_invitation(box: Box, invitation: str) -> Result:
    """Who was invited may not come any more."""
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
    """An address, as Clerk's API takes one; or none."""
    address = (text or "").strip()
    return address_in(address) if address else None


def _name(text: str) -> str:
    if not text.strip():
        raise ClerkRefuses(422, "form_param_nil", "The name must not be empty", "name")
    return text.strip()


def _role(box: Box, key: str) -> str:
    found(box.clerk.roles, key, "organization role")
    return key
