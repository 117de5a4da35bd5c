"""Requirements: the properties that a principal must have. All frameworks share them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypedDict, cast

from ..errors import (
    ConfigurationError,
    FeatureMissing,
    ImpersonationRefused,
    OrganizationMissing,
    PermissionMissing,
    PlanMissing,
    ReverificationNeeded,
    RoleMissing,
    ScopeMissing,
    TokenOutdated,
)
from .claims import REVERIFICATION, FactorLevel, grants, is_fresh, is_grant, prefixed
from .principal import Principal
from .validation import check_page

_LEVELS = ("first_factor", "second_factor", "multi_factor")
_ANY_OF = ("organization_role", "user_role", "permission", "scope", "feature", "plan")

AnyOf = str | Collection[str]  # one name, or several of which any suffices


class RequirementOptions(TypedDict, total=False):
    """The keywords of a `Requirement`, for functions that pass them on: `**options: Unpack[RequirementOptions]`."""

    organization_role: AnyOf | None
    user_role: AnyOf | None
    permission: AnyOf | None
    scope: AnyOf | None
    feature: AnyOf | None
    plan: AnyOf | None
    organization: bool
    organization_page: str | None
    reverified: str | tuple[FactorLevel, int] | None
    not_impersonated: bool
    fresh_membership: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """The properties that a principal must have, all of them. An empty requirement asks for a signed-in caller.

    The first six options take a string, or a collection of strings of which any suffices: `user_role=("admin",
    "editor")`. They are kept as sorted tuples.

    Args:
        organization_role: The role in the active organization, with or without the prefix `org:`. The repository's role
            counts.
        user_role: The role of your user, which your application sets.
        permission: A permission in the active organization, such as `org:invoices:create`.
        scope: A scope of the access token or API key. A session token has no scopes, so it never has the required one.
        feature: A feature of the organization or of the user. The prefix `org:` or `user:` selects one of them.
        plan: A plan of the organization or of the user, like a feature.
        organization: Require an active organization.
        organization_page: The page to redirect a browser to if no organization is active: a path within this
            application, relative to `SCRIPT_NAME` or `root_path`.
        reverified: How recently the user must have verified: one of Clerk's presets, such as `"strict"`, or a level and
            a number of minutes, `("second_factor", 30)`.
        not_impersonated: Refuse a caller that impersonates the user.
        fresh_membership: Read the membership from the repository, and not from the cache.
    """

    organization_role: AnyOf | None = None
    user_role: AnyOf | None = None
    permission: AnyOf | None = None
    scope: AnyOf | None = None
    feature: AnyOf | None = None
    plan: AnyOf | None = None
    organization: bool = False
    organization_page: str | None = None
    reverified: str | tuple[FactorLevel, int] | None = None
    not_impersonated: bool = False
    fresh_membership: bool = False

    def __post_init__(self) -> None:
        for name in _ANY_OF:
            value = getattr(self, name)
            if value is not None:
                # A sorted tuple, so that a requirement has one form to compare, hash and print.
                object.__setattr__(self, name, _names(name, value))
        for name in ("organization", "not_impersonated", "fresh_membership"):
            if type(getattr(self, name)) is not bool:
                raise ConfigurationError(f"{name} must be True or False")
        if self.organization_page is not None:
            check_page("organization_page", self.organization_page)
        if self.reverified is not None:
            _check_reverified(self.reverified)

    def check(self, principal: Principal) -> None:
        """Return if the principal has all properties, or raise the first `NotAllowed` that applies."""
        claims = principal.claims
        if self._needs_organization and principal.organization is None:
            raise OrganizationMissing
        if self.organization_role is not None:
            held = principal.membership.role if principal.membership is not None else None
            if held is None or held not in self.organization_role:
                raise RoleMissing
        if self.user_role is not None:
            if not principal.role_is_known:
                raise ConfigurationError(
                    "the user's role is not known, because trust_own_id=True took the id from the token: use the "
                    "adapter's require(user_role=...), or check the principal that Resolver.confirm(principal) returns"
                )
            if principal.user.role is None or principal.user.role not in self.user_role:
                raise RoleMissing
        if self.permission is not None:
            if _is_outdated(principal):
                raise TokenOutdated
            if claims.permissions.isdisjoint(self.permission):
                raise PermissionMissing
        if self.scope is not None and set(claims.scopes).isdisjoint(self.scope):
            raise ScopeMissing
        if self.feature is not None and not any(grants(claims.features, name) for name in self.feature):
            raise FeatureMissing
        if self.plan is not None and not any(grants(claims.plans, name) for name in self.plan):
            raise PlanMissing
        if self.not_impersonated and claims.actor is not None:
            raise ImpersonationRefused
        if self.reverified is not None and not is_fresh(claims.factor_ages, self.reverified):
            raise ReverificationNeeded(self.reverified)

    def needs_role(self, principal: Principal) -> bool:
        """Return whether the caller of `check` must first read the user's role from the repository."""
        return self.user_role is not None and not principal.role_is_known

    @property
    def _needs_organization(self) -> bool:
        return (
            self.organization
            or self.organization_role is not None
            or self.permission is not None
            or self.organization_page is not None
        )


def _is_outdated(principal: Principal) -> bool:
    """Return whether the role has changed since the token was made: its permissions may have changed, too."""
    membership, active = principal.membership, principal.claims.organization
    if membership is None or active is None or active.role == membership.role:
        return False
    return membership.clerk.observed_at > principal.claims.issued_at * 1000


def _names(option: str, value: object) -> tuple[str, ...]:
    """Return the names of which any suffices. Refuse a name that no principal can have."""
    listed: Collection[object] = ()
    if isinstance(value, str):
        listed = [value]
    elif isinstance(value, Collection) and not isinstance(value, (bytes, bytearray, Mapping)):
        listed = cast(Collection[object], value)
    if not listed:
        raise ConfigurationError(f"{option} must be a non-empty string, or a collection of one or more of them")
    plain: list[str] = []
    for name in listed:
        if not isinstance(name, str) or not name or name != name.strip():
            raise ConfigurationError(f"{option} must have non-empty strings, without spaces around them")
        if option == "scope" and len(name.split()) > 1:
            raise ConfigurationError("scope must have one scope in each string, such as ('notes:read', 'notes:write')")
        if option in ("feature", "plan") and not is_grant(name):
            raise ConfigurationError(f"{option} must be a name, with the prefix org:, user: or none")
        if option in ("organization_role", "permission") and prefixed(name) == "org:":
            raise ConfigurationError(f"{option} must have a name after the prefix org:")
        plain.append(str.__str__(name))  # the value of a member of an enumeration, and not its name
    return tuple(sorted(set(map(prefixed, plain) if option in ("organization_role", "permission") else plain)))


def _check_reverified(wanted: str | tuple[FactorLevel, int]) -> None:
    if isinstance(wanted, str) and wanted in REVERIFICATION:
        return
    if (
        isinstance(wanted, tuple)
        and len(wanted) == 2
        and wanted[0] in _LEVELS
        and type(wanted[1]) is int
        and wanted[1] > 0
    ):
        return
    raise ConfigurationError(f"reverified must be one of {', '.join(REVERIFICATION)}, or a level and its minutes")
