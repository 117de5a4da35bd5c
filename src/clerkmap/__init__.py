"""clerkmap: the seam between Clerk and an application's own records.

    instance = Instance(publishable_key="pk_live_…")
    resolver = Resolver(instance, SqliteRepository.open("app.db"))
    principal = resolver.resolve(token)

Importing this costs nothing: each name is loaded when it is first asked for.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .caller import current_principal
    from .core.claims import ActiveOrganization, Actor, Claims
    from .core.conclusions import role_in_metadata
    from .core.events import Event, parse_event
    from .core.instance import Instance
    from .core.model import Change, Erasure, Id, Membership, Organization, Session, User
    from .core.principal import Principal, Standing
    from .core.records import ClerkMembership, ClerkOrganization, ClerkSession, ClerkUser
    from .core.requirements import Requirement
    from .core.writeback import Pending, WriteBack
    from .errors import (
        ApiError,
        ClerkmapError,
        CommitUnknown,
        ConfigurationError,
        HookFailed,
        KeysUnavailable,
        LinkRefused,
        LockedOut,
        PrincipalRefused,
        Refused,
        RepositoryUnavailable,
        TokenError,
        Unavailable,
        UserUnknown,
        WebhookError,
    )
    from .explaining import Explanation, aexplain, explain
    from .reconciler import Outcome, Reconciler
    from .repository import AsyncRepository, Repository
    from .resolver import Resolver
    from .sealing import seal, unseal
    from .threads import threaded
    from .verifier import Verifier

__version__ = "0.1.0"

_HOMES = {
    "caller": ("current_principal",),
    "core.claims": ("ActiveOrganization", "Actor", "Claims"),
    "core.conclusions": ("role_in_metadata",),
    "core.events": ("Event", "parse_event"),
    "core.instance": ("Instance",),
    "core.model": ("Change", "Erasure", "Id", "Membership", "Organization", "Session", "User"),
    "core.principal": ("Principal", "Standing"),
    "core.records": ("ClerkMembership", "ClerkOrganization", "ClerkSession", "ClerkUser"),
    "core.requirements": ("Requirement",),
    "core.writeback": ("Pending", "WriteBack"),
    "errors": (
        "ApiError",
        "ClerkmapError",
        "CommitUnknown",
        "ConfigurationError",
        "HookFailed",
        "KeysUnavailable",
        "LinkRefused",
        "LockedOut",
        "PrincipalRefused",
        "Refused",
        "RepositoryUnavailable",
        "TokenError",
        "Unavailable",
        "UserUnknown",
        "WebhookError",
    ),
    "explaining": ("Explanation", "aexplain", "explain"),
    "reconciler": ("Outcome", "Reconciler"),
    "repository": ("AsyncRepository", "Repository"),
    "resolver": ("Resolver",),
    "sealing": ("seal", "unseal"),
    "threads": ("threaded",),
    "verifier": ("Verifier",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ActiveOrganization",
    "Actor",
    "ApiError",
    "AsyncRepository",
    "Change",
    "Claims",
    "ClerkMembership",
    "ClerkOrganization",
    "ClerkSession",
    "ClerkUser",
    "ClerkmapError",
    "CommitUnknown",
    "ConfigurationError",
    "Erasure",
    "Event",
    "Explanation",
    "HookFailed",
    "Id",
    "Instance",
    "KeysUnavailable",
    "LinkRefused",
    "LockedOut",
    "Membership",
    "Organization",
    "Outcome",
    "Pending",
    "Principal",
    "PrincipalRefused",
    "Reconciler",
    "Refused",
    "Repository",
    "RepositoryUnavailable",
    "Requirement",
    "Resolver",
    "Session",
    "Standing",
    "TokenError",
    "Unavailable",
    "User",
    "UserUnknown",
    "Verifier",
    "WebhookError",
    "WriteBack",
    "aexplain",
    "current_principal",
    "explain",
    "parse_event",
    "role_in_metadata",
    "seal",
    "threaded",
    "unseal",
]

# A library says nothing unless the application listens.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
