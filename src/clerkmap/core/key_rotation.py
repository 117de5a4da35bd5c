"""When to ask for keys again: rotation, staleness and cool-down as plain arithmetic.

The fetching is somebody else's, and so is the clock.
"""

from ..errors import ConfigurationError, KeysUnavailable, UnknownKey
from .keys import KeySet, VerifyingKey


class KeyRing:
    """What is known of an instance's published keys, and whether it is time to ask again.

    Three rules. A key in hand is served until its replacement is in hand, or until it has been out of date for
    `keep_for`. Whatever the reason to ask (an unknown id, a bad signature, old age, an earlier failure), there is one
    question per `cooldown`, so a stranger cannot turn tokens into traffic. And what nobody could answer is not
    "unknown": a key id that could not be looked up is `KeysUnavailable`.

    All times are seconds of a monotonic clock, handed in. Not locked: its owner is.
    """

    def __init__(self, *, refresh_after: float = 300, keep_for: float = 86_400, cooldown: float = 10) -> None:
        if not (0 < cooldown <= refresh_after and keep_for >= 0):
            raise ConfigurationError("key times must satisfy 0 < cooldown <= refresh_after, and keep_for >= 0")
        self.generation: int = 0
        self._refresh_after = refresh_after
        self._keep_for = keep_for
        self._cooldown = cooldown
        self._keys: KeySet | None = None
        self._arrived = 0.0
        self._asked: float | None = None
        self._asking = False
        self._failing = False

    def find(self, kid: str | None, rejected: VerifyingKey | None, now: float) -> VerifyingKey | None:
        """The key; None when a fetch may tell; otherwise `UnknownKey` or `KeysUnavailable`."""
        usable = self._keys is not None and now - self._arrived <= self._refresh_after + self._keep_for
        key = self._keys.find(kid) if self._keys is not None and usable else None
        if key is not None and key is not rejected:
            return key
        if self._asking or self._may_ask(now):
            return None
        if key is not None:
            return key
        if self._failing or not usable:
            raise KeysUnavailable
        raise UnknownKey

    @property
    def is_empty(self) -> bool:
        """Whether no key has ever been in hand."""
        return self._keys is None

    def refresh_due(self, now: float) -> bool:
        """Whether the keys are old enough to be asked for again, behind everybody's back."""
        return now - self._arrived >= self._refresh_after and not self._asking and self._may_ask(now)

    def asking(self, now: float) -> None:
        """A fetch begins."""
        self._asked = now
        self._asking = True

    def arrived(self, keys: KeySet, now: float) -> None:
        """A fetch brought keys. The same ones as before change nothing, so nothing verified is verified again."""
        self._asking = self._failing = False
        self._arrived = now
        if not keys.same_as(self._keys):
            self._keys = keys
            self.generation += 1

    def failed(self) -> None:
        """A fetch brought nothing. What is in hand stays in hand."""
        self._asking = False
        self._failing = True

    def abandoned(self) -> None:
        """A fetch was lost on the way, and nobody knows of it: as if it had never begun."""
        self._asking = False
        self._asked = None

    def _may_ask(self, now: float) -> bool:
        return self._asked is None or now - self._asked >= self._cooldown
