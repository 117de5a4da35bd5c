"""One Clerk for the tests of the wire, and applications that are there or not."""

from clerkmap import Reconciler
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk, Message

NOW = 1_790_000_000
DAY = 86_400


def clerk_of(people: int = 1, seed: int = 5) -> FakeClerk:
    """A Clerk with an event for each of some people on its wire."""
    clerk = FakeClerk(seed, clock=Clock(NOW))
    for _ in range(people):
        clerk.create_user()
    return clerk


def only(clerk: FakeClerk) -> Message:
    (message,) = clerk.wire.messages.values()
    return message


def reconciler(clerk: FakeClerk) -> Reconciler:
    return Reconciler(clerk.instance, MemoryRepository(), clock=clerk.clock)


def down(headers: dict[str, str], body: bytes) -> int | None:
    """An application that does not answer."""
    return None


class App:
    """An application that keeps what it is sent, and answers with statuses in turn; the last one stays."""

    def __init__(self, *statuses: int | None) -> None:
        self.statuses = list(statuses or (204,))
        self.got: list[tuple[dict[str, str], bytes]] = []

    def __call__(self, headers: dict[str, str], body: bytes) -> int | None:
        self.got.append((headers, body))
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
