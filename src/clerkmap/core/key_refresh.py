"""When to fetch the signing keys of an instance again: by age, for an unknown key id, after a bad signature."""

from ..errors import ConfigurationError, KeysUnavailable, UnknownKey
from .keys import KeySet, VerifyingKey


class FetchedKeys:
    """The keys that were fetched for an instance, and whether to fetch them again.

    A key in memory is served until its replacement is in memory, or until it has been out of date for `keep_for`.
    There is one fetch per `cooldown`, for any reason (an unknown key id, a bad signature, age, an earlier failure), so
    that forged tokens cannot cause traffic. A key id that could not be looked up is `KeysUnavailable`, and
    not `UnknownKey`.

    All times are arguments, in seconds of a monotonic clock. The owner of this object holds a lock around each call.
    """

    def __init__(self, *, refresh_after: float = 300, keep_for: float = 86_400, cooldown: float = 10) -> None:
        if not (0 < cooldown <= refresh_after and keep_for >= 0):
            raise ConfigurationError("key times must satisfy 0 < cooldown <= refresh_after, and keep_for >= 0")
        self.generation: int = 0
        self._refresh_after = refresh_after
        self._keep_for = keep_for
        self._cooldown = cooldown
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._fetch_began_at: float | None = None
        self._fetching = False
        self._failing = False

    def find_or_fetch_first(self, kid: str | None, rejected: VerifyingKey | None, now: float) -> VerifyingKey | None:
        """Return the key, or None if a fetch comes first and may find it.

        Raise `UnknownKey` or `KeysUnavailable` if a fetch would be too early after the last one.
        """
        usable = self._keys is not None and now - self._fetched_at <= self._refresh_after + self._keep_for
        key = self._keys.find(kid) if self._keys is not None and usable else None
        if key is not None and key is not rejected:
            return key
        if self._fetching or self._is_fetch_allowed(now):
            return None
        if key is not None:
            return key
        if self._failing or not usable:
            raise KeysUnavailable
        raise UnknownKey

    @property
    def is_empty(self) -> bool:
        """Whether no fetch has ever succeeded."""
        return self._keys is None

    def is_refresh_due(self, now: float) -> bool:
        """Return whether the keys are old enough for a fetch in the background."""
        return now - self._fetched_at >= self._refresh_after and not self._fetching and self._is_fetch_allowed(now)

    def begin_fetch(self, now: float) -> None:
        """Note that a fetch begins."""
        self._fetch_began_at = now
        self._fetching = True

    def fetch_succeeded(self, keys: KeySet, now: float) -> None:
        """Store the keys that a fetch returned. Equal keys do not change the generation."""
        self._fetching = self._failing = False
        self._fetched_at = now
        if not keys.same_as(self._keys):
            self._keys = keys
            self.generation += 1

    def fetch_failed(self) -> None:
        """Note that a fetch failed. The keys in memory stay."""
        self._fetching = False
        self._failing = True

    def forget_fetch(self) -> None:
        """Forget a fetch, and its cool-down, after a fork: its thread exists in the parent process only."""
        self._fetching = False
        self._fetch_began_at = None

    def _is_fetch_allowed(self, now: float) -> bool:
        """Return whether the cool-down of the last fetch is over."""
        return self._fetch_began_at is None or now - self._fetch_began_at >= self._cooldown
