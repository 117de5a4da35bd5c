"""Test support: a fake Clerk in the process of your tests, and the contract of repositories.

No other part of the library imports this package. Import `RepositoryContract` from `clerkmap.testing.contract`; it
needs pytest. The pytest plugin is imported at every start of pytest, so each name is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import Clock
    from .fake.objects import (
        ClerkRefuses,
        FakeAddress,
        FakeInvitation,
        FakeMachineToken,
        FakeMembership,
        FakeOrganization,
        FakeRole,
        FakeSession,
        FakeUser,
    )
    from .fake.organizations import InvitationOptions, MemberOptions
    from .fake.tokens import TemplateTokenOptions, TokenOptions
    from .fake.webhook_delivery import Delivery, Message, Wire
    from .fake_clerk import FakeClerk
    from .signing import SigningKey

_HOMES = {
    "clock": ("Clock",),
    "fake.objects": (
        "ClerkRefuses",
        "FakeAddress",
        "FakeInvitation",
        "FakeMachineToken",
        "FakeMembership",
        "FakeOrganization",
        "FakeRole",
        "FakeSession",
        "FakeUser",
    ),
    "fake.organizations": ("InvitationOptions", "MemberOptions"),
    "fake.tokens": ("TemplateTokenOptions", "TokenOptions"),
    "fake.webhook_delivery": ("Delivery", "Message", "Wire"),
    "fake_clerk": ("FakeClerk",),
    "signing": ("SigningKey",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ClerkRefuses",
    "Clock",
    "Delivery",
    "FakeAddress",
    "FakeClerk",
    "FakeInvitation",
    "FakeMachineToken",
    "FakeMembership",
    "FakeOrganization",
    "FakeRole",
    "FakeSession",
    "FakeUser",
    "InvitationOptions",
    "MemberOptions",
    "Message",
    "SigningKey",
    "TemplateTokenOptions",
    "TokenOptions",
    "Wire",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
