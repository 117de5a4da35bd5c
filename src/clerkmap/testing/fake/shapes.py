"""The JSON of rows in Clerk's API and webhooks, field by field."""

import json
from base64 import b64encode
from typing import Any

from .objects import (
    FakeAddress,
    FakeInvitation,
    FakeMachineToken,
    FakeMembership,
    FakeOrganization,
    FakeRole,
    FakeSession,
    FakeUser,
)

Shape = dict[str, Any]
NO_PICTURE = "https://www.gravatar.com/avatar?d=mp"


def user_shape(user: FakeUser) -> Shape:
    """Return a user in full."""
    return {
        "backup_code_enabled": False,
        "banned": user.banned,
        "bypass_client_trust": False,
        "create_organization_enabled": True,
        "create_organizations_limit": None,
        "created_at": user.created_at,
        "delete_self_enabled": True,
        "deprovisioned": user.deprovisioned,
        "email_addresses": [address_shape(each) for each in user.addresses],
        "enterprise_accounts": [],
        "external_accounts": [],
        "external_id": user.external_id,
        "first_name": user.first_name,
        "has_image": False,
        "id": user.id,
        "image_url": image_url(user.id),
        "last_active_at": user.last_active_at,
        "last_name": user.last_name,
        "last_sign_in_at": user.last_sign_in_at,
        "legal_accepted_at": None,
        "locale": "en-US",
        "locked": user.locked,
        "lockout_expires_in_seconds": 3600 if user.locked else None,
        "mfa_disabled_at": None,
        "mfa_enabled_at": None,
        "object": "user",
        "passkeys": [],
        "password_enabled": False,
        "password_last_updated_at": None,
        "phone_numbers": [],
        "primary_email_address_id": user.primary_address_id,
        "primary_phone_number_id": None,
        "primary_web3_wallet_id": None,
        "private_metadata": user.private_metadata,
        "profile_image_url": NO_PICTURE,
        "public_metadata": user.public_metadata,
        "saml_accounts": [],
        "totp_enabled": False,
        "two_factor_enabled": False,
        "unsafe_metadata": user.unsafe_metadata,
        "updated_at": user.updated_at,
        "username": user.username,
        "verification_attempts_remaining": 0 if user.locked else 10,
        "web3_wallets": [],
    }


def address_shape(address: FakeAddress) -> Shape:
    """Return an email address. The verification of an unverified address is unfinished."""
    status = "verified" if address.verified else "unverified"
    return {
        "created_at": address.created_at,
        "email_address": address.address,
        "id": address.id,
        "linked_to": [],
        "matches_sso_connection": False,
        "object": "email_address",
        "reserved": False,
        "updated_at": address.updated_at,
        "verification": {
            "attempts": 1 if address.verified else None,
            "channel": None,
            "expire_at": address.created_at + 600_000,
            "object": "verification_otp",
            "status": status,
            "strategy": "email_code",
        },
    }


def organization_shape(
    organization: FakeOrganization, members: int | None = None, invitations: int | None = None
) -> Shape:
    """Return an organization in full. Webhooks have the number of members; the API has it on request."""
    counts = {} if members is None else {"members_count": members}
    counts |= {} if invitations is None else {"pending_invitations_count": invitations}
    return {
        "admin_delete_enabled": organization.admin_delete_enabled,
        "created_at": organization.created_at,
        **({} if organization.created_by is None else {"created_by": organization.created_by}),
        "has_image": False,
        "id": organization.id,
        "image_url": image_url(organization.id),
        "max_allowed_memberships": organization.max_allowed_memberships,
        **counts,
        "missing_member_with_elevated_permissions": False,
        "name": organization.name,
        "object": "organization",
        "private_metadata": organization.private_metadata,
        "public_metadata": organization.public_metadata,
        "role_set_key": "role_set:default",
        "slug": organization.slug,
        "updated_at": organization.updated_at,
    }


def membership_shape(membership: FakeMembership, organization: Shape, user: FakeUser, role: FakeRole) -> Shape:
    """Return a membership, with its organization in full and the public data of its user."""
    seen = {"banned": user.banned, "deprovisioned": user.deprovisioned, "profile_image_url": NO_PICTURE}
    return {
        "created_at": membership.created_at,
        "id": membership.id,
        "object": "organization_membership",
        "organization": organization,
        "permissions": list(role.permissions),
        "private_metadata": membership.private_metadata,
        "public_metadata": membership.public_metadata,
        "public_user_data": public_user_shape(user) | seen | {"username": user.username},
        "role": membership.role,
        "role_name": role.name,
        "updated_at": membership.updated_at,
    }


def public_user_shape(user: FakeUser) -> Shape:
    """Return the data of a user that members of an organization can see."""
    return {
        "first_name": user.first_name,
        "has_image": False,
        "identifier": user.identifier,
        "image_url": image_url(user.id),
        "last_name": user.last_name,
        "user_id": user.id,
    }


def invitation_shape(invitation: FakeInvitation, inviter: FakeUser | None, role: FakeRole) -> Shape:
    """Return an invitation. Unlike at Clerk, its URL holds no secret."""
    return {
        "created_at": invitation.created_at,
        "email_address": invitation.email,
        "expires_at": invitation.expires_at,
        "id": invitation.id,
        "inviter_id": invitation.inviter_id,
        "object": "organization_invitation",
        "organization_id": invitation.organization_id,
        "private_metadata": invitation.private_metadata,
        "public_inviter_data": public_user_shape(inviter) if inviter else None,
        "public_metadata": invitation.public_metadata,
        "role": invitation.role,
        "role_name": role.name,
        "status": invitation.status,
        "updated_at": invitation.updated_at,
        "url": f"https://accounts.example.com/sign-in?invitation={invitation.id}",
    }


def public_organization_shape(organization: FakeOrganization) -> Shape:
    """Return the data of an organization that invited users can see: in two lists, and in webhooks."""
    return {
        "public_organization_data": {
            "has_image": False,
            "id": organization.id,
            "image_url": image_url(organization.id),
            "name": organization.name,
            "slug": organization.slug,
        }
    }


def session_shape(session: FakeSession, user: FakeUser | None = None) -> Shape:
    """Return a session; webhooks include its user in full."""
    return {
        "abandon_at": session.abandoned_at,
        "actor": session.actor,
        "client_id": session.client_id,
        "created_at": session.created_at,
        "expire_at": session.expires_at,
        "id": session.id,
        "last_active_at": session.updated_at,
        "last_active_organization_id": session.organization_id,
        "latest_activity": {
            "browser_name": "Chrome",
            "browser_version": "139.0.0.0",
            "city": "Vienna",
            "country": "AT",
            "device_type": "Linux",
            "id": f"sess_activity_{session.id.removeprefix('sess_')}",
            "ip_address": "203.0.113.24",
            "is_mobile": False,
            "object": "session_activity",
        },
        "object": "session",
        "status": session.status,
        "updated_at": session.updated_at,
        **({} if user is None else {"user": user_shape(user)}),
        "user_id": session.user_id,
    }


def deleted_shape(kind: str, id: str, **also: str | None) -> Shape:
    """Return the rest of a deleted row, without empty fields."""
    return {"deleted": True, "id": id, "object": kind} | {name: value for name, value in also.items() if value}


_MACHINE_OBJECTS = {
    "api_key": "api_key",
    "m2m_token": "machine_to_machine_token",
    "oauth_token": "clerk_idp_oauth_access_token",
}


def machine_token_shape(token: FakeMachineToken, now: int) -> Shape:
    """Return the verification of an opaque token, without the token."""
    shape: Shape = {
        "created_at": token.created_at,
        "expiration": token.expires_at,
        "expired": token.expires_at is not None and token.expires_at <= now,
        "id": token.id,
        "object": _MACHINE_OBJECTS[token.kind],
        "revocation_reason": None,
        "revoked": token.revoked,
        "scopes": token.scopes,
        "subject": token.subject,
        "updated_at": token.updated_at,
    }
    if token.kind == "oauth_token":
        granted = {"aud": token.audience, "act": token.actor}
        shape |= {name: value for name, value in granted.items() if value is not None}
        return shape | {"client_id": token.client_id}
    shape |= {"claims": token.claims, "last_used_at": None}
    if token.kind == "api_key":
        shape |= {"created_by": None, "description": None, "name": token.name, "type": "api_key"}
    return shape


def image_url(id: str) -> str:
    """Return the address of the default picture."""
    return (
        f"https://img.clerk.com/{b64encode(json.dumps({'rid': id, 'type': 'default'}).encode()).decode().rstrip('=')}"
    )


def body_of(type: str, data: Shape, instance_id: str, timestamp: int) -> bytes:
    """Return the body of an event: compact JSON with sorted keys, as at Clerk."""
    event = {
        "data": data,
        "event_attributes": {"http_request": {"client_ip": "203.0.113.24", "user_agent": "Mozilla/5.0 (X11; Linux)"}},
        "instance_id": instance_id,
        "object": "event",
        "timestamp": timestamp,
        "type": type,
    }
    return json.dumps(event, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
