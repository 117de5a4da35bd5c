"""Delivery of events to the applications: at once, and after a failure on Clerk's schedule.

Events are attempted one at a time, in the order of their times. `Chaos` holds the faults of new events, drawn from a
seed.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ..testing import Message
from ..testing.fake.webhook_delivery import Attempt
from .clerk import LocalClerk
from .outcomes import MOST_KEPT, Came

MAX_EVENTS = 500  # kept after they are settled
SHUFFLED_WITHIN = 3.0  # seconds: events within this time can arrive in any order


@dataclass
class Chaos:
    """The faults of deliveries. Probabilities are from 0 to 1.

    Args:
        hold_all: Hold every new event until it is released.
        shuffle: Deliver events out of order.
        duplicate: The probability that an event is delivered twice.
        drop: The probability that an event is lost.
        delay: The probability that an event is late.
        delay_seconds: The delay of late events.
        offline: The applications do not answer: attempts fail and are retried on Clerk's schedule.
    """

    hold_all: bool = False
    shuffle: bool = False
    duplicate: float = 0
    drop: float = 0
    delay: float = 0
    delay_seconds: float = 60
    offline: bool = False


class Receiver(Protocol):
    """An application that receives deliveries."""

    async def take(self, message: Message) -> int | None:
        """Attempt a delivery. Return the status of the answer, or None for no answer."""
        ...


class Postman:
    """Delivers the events that are due.

    Args:
        clerk: The Clerk that sends them.
        receivers: The applications. An attempt succeeds if all of them accept it.
        keep: Called before and after each attempt, to save the state.
        tell: Called after each change.
    """

    def __init__(
        self, clerk: LocalClerk, receivers: Sequence[Receiver], keep: Callable[[], None], tell: Callable[[], None]
    ) -> None:
        self.chaos: Chaos = Chaos()
        self.outcomes: dict[str, list[Came]] = {}
        self._clerk = clerk
        self._wire = clerk.wire
        self._receivers = receivers
        self._keep = keep
        self._tell = tell
        self._fated: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._wire.watch(self.wake)

    def wake(self) -> None:
        """Look for new events. Can be called from any thread."""
        for message in list(self._wire.messages.values()):
            if message.id not in self._fated:
                self._fated.add(message.id)
                self._decide(message)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._woken.set)
        self._tell()

    def restore(self, chaos: Chaos, outcomes: dict[str, list[Came]]) -> None:
        """Continue after a restart. The faults of the restored events are decided already."""
        self.chaos, self.outcomes = chaos, outcomes
        self._fated.update(self._wire.messages)

    def record(self, id: str, came: Came) -> None:
        """Record the outcome of a delivery."""
        if id in self._wire.messages:
            self.outcomes[id] = [*self.outcomes.get(id, ()), came][-MOST_KEPT:]

    async def run(self) -> None:
        """Deliver the due events until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            due = self._wire.due()
            if not due:
                await self._sleep()
                continue
            attempt = await self.attempt(due[0])
            is_first = attempt.succeeded and len(due[0].attempts) == 1
            if is_first and self._clerk.chance.random() < self.chaos.duplicate:
                await self.attempt(due[0])
            self._forget_oldest()

    async def attempt(self, message: Message) -> Attempt:
        """Attempt an event now, in any state."""
        self._keep()
        status = await self._send(message)
        attempt = self._wire.attempt(message, lambda _headers, _body: status)
        self._keep()
        return attempt

    async def _send(self, message: Message) -> int | None:
        """Return the status of the first receiver that refuses the event, or 200."""
        if self.chaos.offline:
            return None
        statuses = [await receiver.take(message) for receiver in self._receivers]
        return next((status for status in statuses if not Attempt(0, status).succeeded), 200)

    async def _sleep(self) -> None:
        """Wait until an event is due by Clerk's clock, or until a change."""
        times = [each.due for each in self._wire.messages.values() if each.state == "waiting"]
        patience = max(0.0, min(times) - self._clerk.clock()) if times else None
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._woken.wait()

    def _decide(self, message: Message) -> None:
        chaos, chance = self.chaos, self._clerk.chance
        if chaos.hold_all:
            self._wire.hold(message)
        elif chance.random() < chaos.drop:
            self._wire.drop(message)
        elif chance.random() < chaos.delay:
            self._wire.delay(message, chaos.delay_seconds)
        elif chaos.shuffle:
            self._wire.delay(message, chance.random() * SHUFFLED_WITHIN)

    def _forget_oldest(self) -> None:
        """Drop the oldest settled events: all events are in memory and in the state file."""
        messages = list(self._wire.messages.values())
        if len(messages) <= MAX_EVENTS:
            return
        settled = [each for each in messages if each.state not in ("waiting", "held")]
        gone = {each.id for each in settled[: len(messages) - MAX_EVENTS]}
        self._wire.replace([each for each in messages if each.id not in gone])
        self._fated -= gone
        for id in gone:
            self.outcomes.pop(id, None)
