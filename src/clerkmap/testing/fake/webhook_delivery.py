"""The way of an event from Clerk to an application: signed, tried again on Clerk's schedule, and no better than that.

It may be held, lost, sent twice or late, all by hand or by chance. Chance has a seed, and time is the clock's: a day of
failed attempts passes as fast as the clock is moved.
"""

import hmac
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import inf
from random import Random
from typing import Literal

from ..clock import Clock

# Seconds from each failed attempt to the next; after the last one Clerk gives up.
RETRIES = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)

_ROUND = 0.001  # seconds that arithmetic on times may be off by

# Hands a delivery to an application: its headers and its body. The status it was answered with, None for no answer.
Send = Callable[[dict[str, str], bytes], int | None]
State = Literal["waiting", "held", "delivered", "failed", "dropped"]


@dataclass
class Attempt:
    """One attempt: when, and what it was answered. No status is no answer."""

    at: float
    status: int | None

    @property
    def succeeded(self) -> bool:
        """Whether the answer was that all is well. A redirection is not."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(eq=False)
class Message:
    """An event on its way. `due` is when the next attempt is to be made."""

    id: str
    type: str
    body: bytes = field(repr=False)
    due: float
    state: State = "waiting"
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    failures: int = 0


@dataclass(eq=False)
class Delivery:
    """One attempt as it arrives: headers and body. It counts as taken in, unless you say that it `failed`."""

    message: Message
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    _failed: Callable[[int | None], None] = field(repr=False)

    @property
    def type(self) -> str:
        """The type of its event."""
        return self.message.type

    def failed(self, status: int | None = 500) -> None:
        """Say that it was not taken in: it comes again when Clerk would send it again."""
        self._failed(status)


class Wire:
    """All events of one made-up Clerk, and what has become of each.

    Args:
        secret: What deliveries are signed with: `whsec_…`.
        clock: The time.
        random: Where chance comes from.
    """

    def __init__(self, secret: str, clock: Clock, random: Random) -> None:
        self.signing_secrets: list[tuple[str, float]] = [(secret, inf)]  # each with the time until which it signs
        self.messages: dict[str, Message] = {}
        self._clock = clock
        self.random: Random = random
        self._lock = threading.RLock()
        self._watchers: list[Callable[[], None]] = []

    @property
    def secrets(self) -> list[str]:
        """What deliveries are signed with now, the newest first: several while one is replaced by another."""
        now = self._clock()
        return [secret for secret, until in self.signing_secrets if now < until]

    def rotate(self, secret: str, keep_for: float) -> None:
        """Sign with another secret, and for so many seconds with the ones before it, too."""
        until = self._clock() + keep_for
        self.signing_secrets = [(secret, inf), *((old, min(until, its_own)) for old, its_own in self.signing_secrets)]

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a function whenever something here has changed."""
        self._watchers.append(watcher)

    def say(self, id: str, type: str, body: bytes) -> Message:
        """Put an event on its way."""
        with self._lock:
            message = self.messages[id] = Message(id, type, body, self._clock())
        self._changed()
        return message

    def due(self) -> list[Message]:
        """What is to be attempted by now, in the order of its time."""
        now = self._clock()
        with self._lock:
            waiting = [each for each in self.messages.values() if each.state == "waiting" and each.due <= now + _ROUND]
        return sorted(waiting, key=lambda each: each.due)

    def deliveries(
        self, *, shuffle: bool = False, duplicate: float = 0, drop: float = 0, late: float = 0
    ) -> Iterator[Delivery]:
        """Attempt everything that is due, once; `duplicate`, `drop` and `late` are chances from 0 to 1.

        What is dropped never comes. What is late comes after all the others.
        """
        with self._lock:
            queue: list[tuple[tuple[bool, float], Message]] = []
            for place, message in enumerate(self.due()):
                if self.random.random() < drop:
                    message.state = "dropped"
                    continue
                for copy in range(2 if self.random.random() < duplicate else 1):
                    position = self.random.random() * 1e9 if shuffle else place + copy * self.random.random() * 10
                    queue.append(((self.random.random() < late, position), message))
        for _, message in sorted(queue, key=lambda each: each[0]):
            yield self.attempt_by_hand(message)
        self._changed()

    def attempt_by_hand(self, message: Message) -> Delivery:
        """Sign an attempt, and count it as taken in unless the delivery is said to have failed."""
        headers, attempt = self.sign(message), self._ended(message, 200)
        return Delivery(message, headers, message.body, partial(self._said_to_have_failed, message, attempt))

    def attempt(self, message: Message, send: Send) -> Attempt:
        """Make one attempt: send it, and see what comes back."""
        attempt = self._ended(message, send(self.sign(message), message.body))
        self._changed()
        return attempt

    def deliver(self, send: Send) -> int:
        """Attempt everything that is due by now. Tells how many attempts that were."""
        messages = self.due()
        for message in messages:
            self.attempt(message, send)
        return len(messages)

    def deliver_all(self, send: Send) -> int:
        """Move the clock on from attempt to attempt until nothing is waiting: at most 27 hours and 36 minutes each."""
        made = 0
        while waiting := [each.due for each in list(self.messages.values()) if each.state == "waiting"]:
            self._clock.advance(max(0.0, min(waiting) - self._clock()))
            made += self.deliver(send)
        return made

    def hold(self, message: Message) -> None:
        """Keep an event back until it is released."""
        self._set(message, "held")

    def drop(self, message: Message) -> None:
        """Lose an event."""
        self._set(message, "dropped")

    def delay(self, message: Message, seconds: float) -> None:
        """Have an event attempted so many seconds from now, and not before."""
        message.due = self._clock() + seconds
        self._set(message, "waiting")

    def release(self, message: Message) -> None:
        """Have an event attempted now: one that was held, or any other once more, as Clerk's dashboard replays it.

        A replay is attempted once: what was taken in before, or has failed for good, is not tried again.
        """
        self.delay(message, 0)

    def replace(self, messages: list[Message]) -> None:
        """Replace all events by these, in this order."""
        with self._lock:
            self.messages.clear()
            self.messages.update((each.id, each) for each in messages)
        self._changed()

    def sign(self, message: Message, *, at: float | None = None) -> dict[str, str]:
        """The headers of an attempt made now, or at another time. The id stays the same for all attempts."""
        stamp = str(int(self._clock() if at is None else at))
        content = f"{message.id}.{stamp}.".encode() + message.body
        keys = [b64decode(secret.removeprefix("whsec_")) for secret in self.secrets]
        signatures = [f"v1,{b64encode(hmac.digest(key, content, 'sha256')).decode()}" for key in keys]
        return {
            "content-type": "application/json",
            "svix-id": message.id,
            "svix-timestamp": stamp,
            "svix-signature": " ".join(signatures),
        }

    def _ended(self, message: Message, status: int | None) -> Attempt:
        with self._lock:
            attempt = Attempt(self._clock(), status)
            message.attempts.append(attempt)
            self._settle(message, attempt)
            return attempt

    def _settle(self, message: Message, attempt: Attempt) -> None:
        """See what an attempt means for its event: that it has been taken in, is tried again, or is given up."""
        if any(each.succeeded for each in message.attempts):
            message.state = "delivered"
        elif message.state in ("held", "dropped"):
            pass  # somebody decided that while it was being attempted
        elif message.failures < len(RETRIES):
            message.due = attempt.at + RETRIES[message.failures]
            message.failures += 1
            message.state = "waiting"
        else:
            message.state = "failed"

    def _said_to_have_failed(self, message: Message, attempt: Attempt, status: int | None) -> None:
        with self._lock:
            if attempt.succeeded:  # said twice, it has still failed once
                attempt.status = status
                self._settle(message, attempt)
        self._changed()

    def _set(self, message: Message, state: State) -> None:
        message.state = state
        self._changed()

    def _changed(self) -> None:
        for watcher in self._watchers:
            watcher()
