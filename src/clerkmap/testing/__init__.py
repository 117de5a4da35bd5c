"""For tests: a Clerk in the same process, and the contract that every repository keeps.

Nothing in the library imports this room. `RepositoryContract` needs pytest and is imported from
`clerkmap.testing.contract`; everything else needs nothing beyond clerkmap.
"""

from .clock import Clock
from .fake.objects import (
    ClerkRefuses,
    FakeInvitation,
    FakeMachineToken,
    FakeMembership,
    FakeOrganization,
    FakeSession,
    FakeUser,
)
from .fake.wire import Delivery, Message, Wire
from .fake_clerk import FakeClerk
from .signing import SigningKey

__all__ = [
    "ClerkRefuses",
    "Clock",
    "Delivery",
    "FakeClerk",
    "FakeInvitation",
    "FakeMachineToken",
    "FakeMembership",
    "FakeOrganization",
    "FakeSession",
    "FakeUser",
    "Message",
    "SigningKey",
    "Wire",
]
