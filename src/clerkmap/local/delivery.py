"""Who takes events from the wire to the apps: at once when all is well, and on Clerk's schedule when it is not.

Events are attempted one after the other, in the order of their time. What goes wrong is `Chaos`: it decides the fate of
each new event, by chances that have a seed.
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

MOST_EVENTS = 500  # that are kept once they are settled
SHUFFLED_WITHIN = 3.0  # seconds: what happens within as many may arrive in any order


@dataclass
class Chaos:
    """What goes wrong on the way. Chances are from 0 to 1.

    Args:
        hold_all: Every new event is held back until somebody releases it.
        shuffle: Events overtake each other.
        duplicate: The chance that an event comes twice.
        drop: The chance that an event never comes.
        delay: The chance that an event comes late.
        delay_seconds: How late that is.
        offline: The apps do not answer: attempts fail, and are made again in their time.
    """

    hold_all: bool = False
    shuffle: bool = False
    duplicate: float = 0
    drop: float = 0
    delay: float = 0
    delay_seconds: float = 60
    offline: bool = False


class Receiver(Protocol):
    """An app that takes deliveries."""

    async def take(self, message: Message) -> int | None:
        """Attempt a delivery. The status it was answered with; None for no answer."""
        ...


class Postman:
    """Attempts what is due.

    Args:
        clerk: Whose events.
        receivers: Who is to have them. An attempt has succeeded when all of them say so.
        keep: Called before and after each attempt: what is delivered must not be forgotten, nor that it was.
        tell: Called when something has changed.
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
        """Look at the wire, which has changed. May be called from any thread."""
        for message in list(self._wire.messages.values()):
            if message.id not in self._fated:
                self._fated.add(message.id)
                self._decide(message)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is over
                self._loop.call_soon_threadsafe(self._woken.set)
        self._tell()

    def restore(self, chaos: Chaos, outcomes: dict[str, list[Came]]) -> None:
        """Go on as before a restart. The fate of the events that are there was decided then."""
        self.chaos, self.outcomes = chaos, outcomes
        self._fated.update(self._wire.messages)

    def record(self, id: str, came: Came) -> None:
        """Remember what came of a delivery."""
        if id in self._wire.messages:
            self.outcomes[id] = [*self.outcomes.get(id, ()), came][-MOST_KEPT:]

    async def run(self) -> None:
        """Attempt what is due, for ever."""
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
        """Attempt an event now, whatever has become of it so far."""
        self._keep()
        status = await self._send(message)
        attempt = self._wire.attempt(message, lambda _headers, _body: status)
        self._keep()
        return attempt

    async def _send(self, message: Message) -> int | None:
        """The status that counts: that of the first receiver who did not take it in, if there is one."""
        if self.chaos.offline:
            return None
        statuses = [await receiver.take(message) for receiver in self._receivers]
        return next((status for status in statuses if not Attempt(0, status).succeeded), 200)

    async def _sleep(self) -> None:
        """Until something is due by Clerk's clock, or something has changed."""
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
        """Events that are settled are not kept for ever: all of this is in memory, and in a file."""
        messages = list(self._wire.messages.values())
        if len(messages) <= MOST_EVENTS:
            return
        settled = [each for each in messages if each.state not in ("waiting", "held")]
        gone = {each.id for each in settled[: len(messages) - MOST_EVENTS]}
        self._wire.replace([each for each in messages if each.id not in gone])
        self._fated -= gone
        for id in gone:
            self.outcomes.pop(id, None)
