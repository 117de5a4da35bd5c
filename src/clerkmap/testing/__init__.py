"""For tests: a Clerk in the same process, and the contract that every repository keeps.

Nothing in the library imports this room. `RepositoryContract` needs pytest and is imported from
`clerkmap.testing.contract`; everything else needs nothing beyond clerkmap. Importing this costs nothing, as pytest
does it at every start, for the plugin: each name is loaded when it is first asked for.
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
    "Message",
    "SigningKey",
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
