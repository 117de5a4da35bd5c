"""The delivery of events from Clerk to an application: signed, retried on Clerk's schedule, and unreliable on request.

An event can be held, lost, duplicated or delayed, by hand or at random. Randomness is seeded, and time is the clock's:
a day of retries passes as fast as the clock is moved.
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

# Seconds between a failed attempt and the next. After the last retry, Clerk gives up.
RETRIES = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)

_ROUND = 0.001  # seconds of rounding errors

# Sends the headers and body of a delivery, and returns the status of the answer, or None for no answer.
Send = Callable[[dict[str, str], bytes], int | None]
State = Literal["waiting", "held", "delivered", "failed", "dropped"]


@dataclass
class Attempt:
    """One attempt: its time, and the status of the answer. None is no answer."""

    at: float
    status: int | None

    @property
    def succeeded(self) -> bool:
        """Whether the answer was a success. A redirect is not."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(eq=False)
class Message:
    """An event to deliver. `due` is the time of the next attempt."""

    id: str
    type: str
    body: bytes = field(repr=False)
    due: float
    state: State = "waiting"
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    failures: int = 0


@dataclass(eq=False)
class Delivery:
    """One attempt as it arrives: headers and body. It counts as a success unless you call `failed`."""

    message: Message
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    _failed: Callable[[int | None], None] = field(repr=False)

    @property
    def type(self) -> str:
        """The type of the event."""
        return self.message.type

    def failed(self, status: int | None = 500) -> None:
        """Report a failure: the event is retried when Clerk would retry it."""
        self._failed(status)


class Wire:
    """The events of one fake Clerk, and their deliveries.

    Args:
        secret: The signing secret: `whsec_…`.
        clock: The time.
        random: The source of random faults.
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
        """The valid signing secrets, newest first. There are several during a rotation."""
        now = self._clock()
        return [secret for secret, until in self.signing_secrets if now < until]

    def rotate(self, secret: str, keep_for: float) -> None:
        """Sign with another secret, and with the old ones as well for `keep_for` seconds."""
        until = self._clock() + keep_for
        self.signing_secrets = [(secret, inf), *((old, min(until, its_own)) for old, its_own in self.signing_secrets)]

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a function after each change."""
        self._watchers.append(watcher)

    def say(self, id: str, type: str, body: bytes) -> Message:
        """Send an event."""
        with self._lock:
            message = self.messages[id] = Message(id, type, body, self._clock())
        self._changed()
        return message

    def due(self) -> list[Message]:
        """Return the events that are due, in the order of their times."""
        now = self._clock()
        with self._lock:
            waiting = [each for each in self.messages.values() if each.state == "waiting" and each.due <= now + _ROUND]
        return sorted(waiting, key=lambda each: each.due)

    def deliveries(
        self, *, shuffle: bool = False, duplicate: float = 0, drop: float = 0, late: float = 0
    ) -> Iterator[Delivery]:
        """Attempt every due event once; `duplicate`, `drop` and `late` are probabilities.

        A dropped event never arrives. A late event arrives after all others.
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
        """Sign an attempt. It counts as a success unless the delivery is reported as failed."""
        headers, attempt = self.sign(message), self._ended(message, 200)
        return Delivery(message, headers, message.body, partial(self._said_to_have_failed, message, attempt))

    def attempt(self, message: Message, send: Send) -> Attempt:
        """Make one attempt with a function that sends it."""
        attempt = self._ended(message, send(self.sign(message), message.body))
        self._changed()
        return attempt

    def deliver(self, send: Send) -> int:
        """Attempt every due event. Return the number of attempts."""
        messages = self.due()
        for message in messages:
            self.attempt(message, send)
        return len(messages)

    def deliver_all(self, send: Send) -> int:
        """Advance the clock from attempt to attempt until no event waits: at most 27 h 36 min for each event."""
        made = 0
        while waiting := [each.due for each in list(self.messages.values()) if each.state == "waiting"]:
            self._clock.advance(max(0.0, min(waiting) - self._clock()))
            made += self.deliver(send)
        return made

    def hold(self, message: Message) -> None:
        """Hold an event until it is released."""
        self._set(message, "held")

    def drop(self, message: Message) -> None:
        """Lose an event."""
        self._set(message, "dropped")

    def delay(self, message: Message, seconds: float) -> None:
        """Attempt an event in this number of seconds, and not before."""
        message.due = self._clock() + seconds
        self._set(message, "waiting")

    def release(self, message: Message) -> None:
        """Attempt an event now: a held one, or any other once more, like a replay on Clerk's dashboard.

        A replay of a delivered or failed event is not retried.
        """
        self.delay(message, 0)

    def replace(self, messages: list[Message]) -> None:
        """Replace all events by these, in this order."""
        with self._lock:
            self.messages.clear()
            self.messages.update((each.id, each) for each in messages)
        self._changed()

    def sign(self, message: Message, *, at: float | None = None) -> dict[str, str]:
        """Return the headers of an attempt, now or at another time. All attempts have the same id."""
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
        """Update the state of an event after an attempt: delivered, waiting for a retry, or failed."""
        if any(each.succeeded for each in message.attempts):
            message.state = "delivered"
        elif message.state in ("held", "dropped"):
            pass  # it was held or dropped during the attempt
        elif message.failures < len(RETRIES):
            message.due = attempt.at + RETRIES[message.failures]
            message.failures += 1
            message.state = "waiting"
        else:
            message.state = "failed"

    def _said_to_have_failed(self, message: Message, attempt: Attempt, status: int | None) -> None:
        with self._lock:
            if attempt.succeeded:  # a second report changes nothing
                attempt.status = status
                self._settle(message, attempt)
        self._changed()

    def _set(self, message: Message, state: State) -> None:
        message.state = state
        self._changed()

    def _changed(self) -> None:
        for watcher in self._watchers:
            watcher()
