"""Admission: whether a caller has access, from the claims of the token and the standing in the repository.

Also the records of a token that are new to the repository: those of a caller whom it does not know yet.
"""

from dataclasses import replace

from ..errors import LockedOut, MembershipDeleted, OrganizationDeleted, SessionEnded, UserBanned, UserDeleted
from .claims import Claims, Profile
from .merging import current_membership
from .model import Membership, Organization
from .principal import Principal, Standing
from .records import FROM_TOKEN, AnyRecord, ClerkMembership, ClerkOrganization, ClerkUser

_NO_PROFILE = Profile()


def admit_organization(claims: Claims, organization: Organization) -> Principal:
    """Return the principal of an organization that calls with its own API key."""
    if organization.clerk.is_deleted:
        raise OrganizationDeleted
    return Principal(None, organization, None, claims)


def new_records_of_token(claims: Claims, standing: Standing | None) -> list[AnyRecord]:
    """Return the records of a token that are new to the repository. A record of a higher grade always wins."""
    instance, observed_at, active = claims.instance, claims.issued_at * 1000, claims.organization
    found: list[AnyRecord] = []
    if standing is None or (claims.profile is not None and _updates_profile(claims, standing, observed_at)):
        found.append(_user_of_token(claims, observed_at))
    if active is None or (standing is not None and why_user_is_locked_out(standing) is not None):
        return found
    organization = standing.organization if standing is not None else None
    if organization is None or _updates_older_token(active.slug, organization.slug, organization.clerk, observed_at):
        found.append(ClerkOrganization.make(FROM_TOKEN, instance, active.id, slug=active.slug, observed_at=observed_at))
    memberships = standing.memberships if standing is not None else ()
    current = current_membership(memberships)
    if current is None or _updates_older_token(active.role, current.role, current, observed_at):
        from_token = ClerkMembership.from_token(
            instance,
            clerk_user_id=claims.subject,
            clerk_organization_id=active.id,
            role=active.role,
            observed_at=observed_at,
        )
        if current is not None or current_membership([*memberships, from_token]) is not None:
            found.append(from_token)
    return found


def _user_of_token(claims: Claims, observed_at: int) -> ClerkUser:
    """Return the record of a user that a token names. Its address is never verified, and it names no role."""
    said = {} if claims.profile is None else claims.profile._asdict()
    if claims.profile == _NO_PROFILE:
        observed_at = 0  # it tells nothing, so a token with a profile outranks it, even an older one
    return ClerkUser.make(FROM_TOKEN, claims.instance, claims.subject, observed_at=observed_at, **said)


def _updates_profile(claims: Claims, standing: Standing, observed_at: int) -> bool:
    """Return whether a token has another profile than earlier tokens, and only tokens have told of the user."""
    known = standing.user.clerk
    if claims.profile == _NO_PROFILE:
        return False
    # Without the role, the standing was made from a token: the repository may have a better record.
    if known.grade != FROM_TOKEN or not standing.role_is_known or why_user_is_locked_out(standing) is not None:
        return False
    new = _user_of_token(claims, observed_at)
    if new.rank <= known.rank or new.said() == known.said():
        return False
    # An import of partial records may have told more than a profile, such as a ban. That must stay.
    profile = {name: getattr(known, name) for name in Profile._fields}
    return replace(new, **profile).said() == known.said()


def _updates_older_token(told: str | None, known: str | None, record: AnyRecord, observed_at: int) -> bool:
    """Return whether a token has another value than an earlier token. Records of a higher grade always win."""
    return told is not None and told != known and record.grade == FROM_TOKEN and observed_at > record.observed_at


def admit_user(claims: Claims, standing: Standing) -> Principal:
    """Return the principal, or raise `LockedOut`.

    Beside `why_user_is_locked_out`, a user has no access to a deleted organization, or to one that the user has left.
    """
    user = standing.user
    lockout = why_user_is_locked_out(standing)
    if lockout is not None:
        raise lockout
    if claims.organization is None:
        return Principal(user, None, None, claims, standing.role_is_known)
    organization = standing.organization
    if organization is None or organization.clerk.is_deleted:
        raise OrganizationDeleted
    current = current_membership(standing.memberships)
    if current is None:
        raise MembershipDeleted
    return Principal(user, organization, Membership(current), claims, standing.role_is_known)


def why_user_is_locked_out(standing: Standing) -> LockedOut | None:
    """Return the error for a user who was deleted, banned or signed out, or None."""
    user = standing.user
    if user.clerk.is_deleted or user.deleted_at is not None:
        return UserDeleted()
    if user.clerk.banned:
        return UserBanned()
    return SessionEnded() if standing.session_is_over else None
