"""Connect Clerk authentication to your own user tables.

    instance = Instance(publishable_key="pk_live_…")
    resolver = Resolver(instance, SqliteRepository.open("app.db"))
    principal = resolver.resolve(token)

The import is cheap: each name is loaded at its first use.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auth.explain import Explanation, aexplain, explain
    from .auth.resolver import Resolver
    from .auth.result import current_principal
    from .auth.sealing import seal, unseal
    from .auth.verifier import Verifier
    from .core.claims import ActiveOrganization, Actor, Claims, Profile
    from .core.event_handlers import ReceivedEvent
    from .core.events import Event, parse_event
    from .core.instance import Instance
    from .core.model import (
        Change,
        Erasure,
        Id,
        Member,
        Membership,
        Organization,
        PublicMember,
        PublicOrganization,
        PublicUser,
        ResultPage,
        Session,
        User,
        role_in_metadata,
    )
    from .core.pages import refresh_html
    from .core.principal import Principal, Standing
    from .core.records import (
        DELETED,
        EMBEDDED,
        FROM_TOKEN,
        FULL,
        ClerkMembership,
        ClerkOrganization,
        ClerkSession,
        ClerkUser,
    )
    from .core.requirements import Requirement
    from .core.writeback import OutboxEntry, WriteBack
    from .errors import (
        ApiError,
        ClerkmapError,
        CommitUnknown,
        ConfigurationError,
        HandlerFailed,
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
    from .ports import (
        AsyncCoreRepository,
        AsyncDeliveryRepository,
        AsyncDirectoryRepository,
        AsyncOutboxRepository,
        AsyncRepository,
        CoreRepository,
        DeliveryRepository,
        DirectoryRepository,
        OutboxRepository,
        Repository,
    )
    from .repositories.threaded import threaded
    from .webhooks import Outcome, Reconciler

__version__ = "0.1.0"

_HOMES = {
    "auth.result": ("current_principal",),
    "core.claims": ("ActiveOrganization", "Actor", "Claims", "Profile"),
    "core.event_handlers": ("ReceivedEvent",),
    "core.events": ("Event", "parse_event"),
    "core.instance": ("Instance",),
    "core.model": (
        *("Change", "Erasure", "Id", "Member", "Membership", "Organization"),
        *("PublicMember", "PublicOrganization", "PublicUser", "ResultPage", "Session", "User", "role_in_metadata"),
    ),
    "core.pages": ("refresh_html",),
    "core.principal": ("Principal", "Standing"),
    "core.records": (
        *("DELETED", "EMBEDDED", "FROM_TOKEN", "FULL"),
        *("ClerkMembership", "ClerkOrganization", "ClerkSession", "ClerkUser"),
    ),
    "core.requirements": ("Requirement",),
    "core.writeback": ("OutboxEntry", "WriteBack"),
    "errors": (
        "ApiError",
        "ClerkmapError",
        "CommitUnknown",
        "ConfigurationError",
        "HandlerFailed",
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
    "auth.explain": ("Explanation", "aexplain", "explain"),
    "webhooks": ("Outcome", "Reconciler"),
    "ports": (
        "AsyncCoreRepository",
        "AsyncDeliveryRepository",
        "AsyncDirectoryRepository",
        "AsyncOutboxRepository",
        "AsyncRepository",
        "CoreRepository",
        "DeliveryRepository",
        "DirectoryRepository",
        "OutboxRepository",
        "Repository",
    ),
    "auth.resolver": ("Resolver",),
    "auth.sealing": ("seal", "unseal"),
    "repositories.threaded": ("threaded",),
    "auth.verifier": ("Verifier",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DELETED",
    "EMBEDDED",
    "FROM_TOKEN",
    "FULL",
    "ActiveOrganization",
    "Actor",
    "ApiError",
    "AsyncCoreRepository",
    "AsyncDeliveryRepository",
    "AsyncDirectoryRepository",
    "AsyncOutboxRepository",
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
    "CoreRepository",
    "DeliveryRepository",
    "DirectoryRepository",
    "Erasure",
    "Event",
    "Explanation",
    "HandlerFailed",
    "HookFailed",
    "Id",
    "Instance",
    "KeysUnavailable",
    "LinkRefused",
    "LockedOut",
    "Member",
    "Membership",
    "Organization",
    "OutboxEntry",
    "OutboxRepository",
    "Outcome",
    "Principal",
    "PrincipalRefused",
    "Profile",
    "PublicMember",
    "PublicOrganization",
    "PublicUser",
    "ReceivedEvent",
    "Reconciler",
    "Refused",
    "Repository",
    "RepositoryUnavailable",
    "Requirement",
    "Resolver",
    "ResultPage",
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
    "refresh_html",
    "role_in_metadata",
    "seal",
    "threaded",
    "unseal",
]

# A library writes no log unless the application configures logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
