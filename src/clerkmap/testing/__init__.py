"""For tests: a Clerk in the same process, and the contract that every repository keeps.

Nothing in the library imports this room. `RepositoryContract` needs pytest and is imported from
`clerkmap.testing.contract`; everything else needs nothing beyond clerkmap.
"""

from .clock import Clock
from .fake_clerk import FakeClerk, FakeOrganization, FakeUser
from .signing import SigningKey

__all__ = ["Clock", "FakeClerk", "FakeOrganization", "FakeUser", "SigningKey"]
