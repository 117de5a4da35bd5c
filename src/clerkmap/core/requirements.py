"""What a caller must have to be let through: one vocabulary, the same in every framework."""

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
    """The keywords of a `Requirement`, for what takes them in its stead: `**what: Unpack[RequirementOptions]`."""

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
    """What a caller must have. All that is named must hold; where nothing is, that somebody is signed in.

    Args:
        role: The role in the active organization, with or without `org:` in front, as the repository knows it.
        user_role: The role of the user, which is yours and not Clerk's.
        permission: A permission in the active organization, such as `org:invoices:create`.
        feature: A feature of the organization or of the person.
        plan: A plan of the organization or of the person.
        organization: That some organization is active.
        organization_page: Where to send a browser that has no active organization: a path within this application, as
            it is mounted (`SCRIPT_NAME` or `root_path`).
        reverified: How lately which factors were shown: one of Clerk's presets, such as `"strict"`, or a level and a
            number of minutes, `("second_factor", 30)`.
        not_impersonated: That it is really the person who acts.
        fresh_membership: That the repository itself is asked, and not what is remembered of it.
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
                raise ConfigurationError(f"{name} must be a text that is not empty")
        for name in ("organization", "not_impersonated", "fresh_membership"):
            if type(getattr(self, name)) is not bool:
                raise ConfigurationError(f"{name} is True or False")
        if self.organization_page is not None and not OWN_PATH.fullmatch(self.organization_page):
            raise ConfigurationError("organization_page is a path of this application, such as /choose-organization")
        if self.reverified is not None:
            _check_reverified(self.reverified)

    def check(self, principal: Principal) -> None:
        """Return if the principal has it all, or raise the first `NotAllowed` that applies."""
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
                    "the role of this user is not known, for trust_own_id=True took the id from the token: use the "
                    "adapter's require(user_role=...), or check what Resolver.confirm(principal) returns"
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
        """Whether the repository must be asked for the user's role before `check`."""
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
    """Whether the role has changed since the token was made: what it permits may have changed with the role."""
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
    raise ConfigurationError(f"reverified is one of {', '.join(REVERIFICATION)}, or a level and its minutes")
