"""Requirements: the properties that a principal must have. All frameworks share them."""

from dataclasses import dataclass
from typing import TypedDict

from ..errors import (
    ConfigurationError,
    FeatureMissing,
    ImpersonationRefused,
    OrganizationMissing,
    PermissionMissing,
    PlanMissing,
    ReverificationNeeded,
    RoleMissing,
    TokenOutdated,
)
from .claims import REVERIFICATION, FactorLevel, is_fresh, prefixed
from .principal import Principal
from .validation import OWN_PATH

_LEVELS = ("first_factor", "second_factor", "multi_factor")


class RequirementOptions(TypedDict, total=False):
    """The keywords of a `Requirement`, for functions that pass them on: `**options: Unpack[RequirementOptions]`."""

    role: str | None
    user_role: str | None
    permission: str | None
    feature: str | None
    plan: str | None
    organization: bool
    organization_page: str | None
    reverified: str | tuple[FactorLevel, int] | None
    not_impersonated: bool
    fresh_membership: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """The properties that a principal must have, all of them. An empty requirement asks for a signed-in caller.

    Args:
        role: The role in the active organization, with or without the prefix `org:`. The repository's role counts.
        user_role: The role of your user, which your application sets.
        permission: A permission in the active organization, such as `org:invoices:create`.
        feature: A feature of the organization or of the user.
        plan: A plan of the organization or of the user.
        organization: Require an active organization.
        organization_page: The page to redirect a browser to if no organization is active: a path within this
            application, relative to `SCRIPT_NAME` or `root_path`.
        reverified: How recently the user must have verified: one of Clerk's presets, such as `"strict"`, or a level and
            a number of minutes, `("second_factor", 30)`.
        not_impersonated: Refuse a caller that impersonates the user.
        fresh_membership: Read the membership from the repository, and not from the cache.
    """

    role: str | None = None
    user_role: str | None = None
    permission: str | None = None
    feature: str | None = None
    plan: str | None = None
    organization: bool = False
    organization_page: str | None = None
    reverified: str | tuple[FactorLevel, int] | None = None
    not_impersonated: bool = False
    fresh_membership: bool = False

    def __post_init__(self) -> None:
        for name in ("role", "user_role", "permission", "feature", "plan", "organization_page"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise ConfigurationError(f"{name} must be a non-empty string")
        for name in ("organization", "not_impersonated", "fresh_membership"):
            if type(getattr(self, name)) is not bool:
                raise ConfigurationError(f"{name} must be True or False")
        if self.organization_page is not None and not OWN_PATH.fullmatch(self.organization_page):
            raise ConfigurationError("organization_page must be a path of this application, such as /organizations")
        if self.reverified is not None:
            _check_reverified(self.reverified)

    def check(self, principal: Principal) -> None:
        """Return if the principal has all properties, or raise the first `NotAllowed` that applies."""
        claims = principal.claims
        if self._needs_organization and principal.organization is None:
            raise OrganizationMissing
        if self.role is not None:
            held = principal.membership.role if principal.membership is not None else None
            if held != prefixed(self.role):
                raise RoleMissing
        if self.user_role is not None:
            if not principal.role_is_known:
                raise ConfigurationError(
                    "the user's role is not known, because trust_own_id=True took the id from the token: use the "
                    "adapter's require(user_role=...), or check the principal that Resolver.confirm(principal) returns"
                )
            if principal.user.role != self.user_role:
                raise RoleMissing
        if self.permission is not None:
            if _is_outdated(principal):
                raise TokenOutdated
            if not claims.has(permission=self.permission):
                raise PermissionMissing
        if self.feature is not None and not claims.has(feature=self.feature):
            raise FeatureMissing
        if self.plan is not None and not claims.has(plan=self.plan):
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
            or self.role is not None
            or self.permission is not None
            or self.organization_page is not None
        )


def _is_outdated(principal: Principal) -> bool:
    """Return whether the role has changed since the token was made: its permissions may have changed, too."""
    membership, active = principal.membership, principal.claims.organization
    if membership is None or active is None or active.role == membership.role:
        return False
    return membership.clerk.observed_at > principal.claims.issued_at * 1000


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
