"""The two caches of the resolver: verified tokens, and the standings of their users.

A read takes no lock: it finds a complete entry, or none. Both caches are bounded: a full cache drops its oldest eighth.
An attacker cannot fill them, because a token that is not verified is never cached.
"""

import threading
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, TypeVar

from .._runtime.forks import SurvivesForks
from ..core.claims import Claims
from ..core.principal import Principal, Standing
from ..core.records import key_of

K = TypeVar("K")
CallerIds = tuple[str, str | None, str | None]  # Clerk's ids: of the user, the active organization, the session


class CachedStanding:
    """The standing of one caller, valid until there is a write to one of its keys."""

    __slots__ = ("at", "epoch", "is_current", "keys", "standing")

    def __init__(self, standing: Standing, keys: tuple[str, ...], epoch: int, at: float) -> None:
        self.standing: Standing = standing
        self.keys: tuple[str, ...] = keys
        self.epoch: int = epoch
        self.at: float = at  # the time at which it was true
        self.is_current: bool = True


class VerifiedToken:
    """A verified token, with the generation of the keys and the time until which it stays valid.

    `admitted` is the principal of the token, with its standing: one value, so that no reader pairs the principal with
    another standing.
    """

    __slots__ = ("admitted", "claims", "ends", "generation", "starts")

    def __init__(self, claims: Claims, generation: int, starts: float, ends: float) -> None:
        self.claims: Claims = claims
        self.generation: int = generation
        self.starts: float = starts
        self.ends: float = ends
        self.admitted: tuple[CachedStanding, Principal] | None = None


class StandingCache(SurvivesForks):
    """The cache of standings, by caller, with an index of the standings that depend on each user or organization.

    `epoch` grows with each change. A standing is not kept if its user or organization has changed since it was read:
    it may show the state before the change.

    Args:
        limit: The largest number of standings to keep.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._cached: dict[CallerIds, CachedStanding] = {}
        self._stale: dict[CallerIds, CachedStanding] = {}  # standings that may be out of date
        self._touched_by: dict[str, set[CallerIds]] = {}
        self._changed: dict[str, int] = {}  # the epoch of the last change of a key, for recently changed keys
        self._changed_before = 0  # the epoch up to which all other keys may have changed
        self._all_changed = 0  # the epoch at which any key may have changed
        self._confirmed_at = float("-inf")
        self.epoch: int = 0
        self.get: Callable[[CallerIds], CachedStanding | None] = self._cached.get
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self.forget(None)
        self._stale.clear()

    def keep(
        self, caller: CallerIds, standing: Standing, epoch: int, at: float = float("-inf")
    ) -> CachedStanding | None:
        """Keep a standing that was read at this epoch and time. Return None if it may be out of date already."""
        keys = tuple([key_of(clerk_id) for clerk_id in caller if clerk_id is not None])
        with self._lock:
            if epoch < self._all_changed or not standing.settled or not self._is_unchanged(keys, epoch):
                return None
            _make_room(self._cached, self._limit, self._drop)
            self._drop(caller)
            self._stale.pop(caller, None)
            cached = self._cached[caller] = CachedStanding(standing, keys, epoch, at)
            for key in keys:
                self._touched_by.setdefault(key, set()).add(caller)
            return cached

    def confirm_all(self, at: float) -> None:
        """Note that all kept standings were true at this time: all earlier writes have been processed."""
        self._confirmed_at = at

    def was_known(self, caller: CallerIds) -> bool:
        """Return whether a standing of this caller was kept until the whole cache was dropped."""
        return caller in self._stale

    def last_known(self, caller: CallerIds, since: float) -> Standing | None:
        """Return a standing that may be out of date. It was true at this time or later, and no change is known."""
        with self._lock:
            cached = self._cached.get(caller)
            if cached is not None:
                return cached.standing if max(cached.at, self._confirmed_at) >= since else None
            cached = self._stale.get(caller)
            if cached is None or cached.at < since or not self._is_unchanged(cached.keys, cached.epoch):
                return None
            return cached.standing

    def forget(self, keys: Collection[str] | None) -> None:
        """Drop the standings that depend on these keys of users and organizations. None drops all."""
        with self._lock:
            self.epoch += 1
            if keys is None:
                self._all_changed = self.epoch
                self._forget_all()
                return
            for key in keys:
                _make_room(self._changed, self._limit, self._drop_change)
                self._changed.pop(key, None)
                self._changed[key] = self.epoch
                for caller in list(self._touched_by.get(key, ())):
                    self._drop(caller)

    def _forget_all(self) -> None:
        for caller, cached in self._cached.items():
            cached.is_current = False
            cached.at = max(cached.at, self._confirmed_at)
            _make_room(self._stale, self._limit, self._stale.pop)
            self._stale[caller] = cached
        self._cached.clear()
        self._touched_by.clear()

    def _is_unchanged(self, keys: tuple[str, ...], epoch: int) -> bool:
        return epoch >= self._changed_before and max([self._changed.get(key, 0) for key in keys], default=0) <= epoch

    def _drop_change(self, key: str) -> None:
        self._changed_before = max(self._changed_before, self._changed.pop(key))

    def _drop(self, caller: CallerIds) -> None:
        cached = self._cached.pop(caller, None)
        if cached is None:
            return
        cached.is_current = False  # the admitted principals of tokens point to it
        for key in cached.keys:
            callers = self._touched_by[key]
            callers.discard(caller)
            if not callers:
                del self._touched_by[key]


def _make_room(kept: dict[K, Any], limit: int, drop: Callable[[K], object]) -> None:
    """Drop the oldest eighth of a dictionary, if it is full."""
    if len(kept) >= limit:
        for oldest in list(islice(kept, limit // 8 + 1)):
            drop(oldest)


class LastChanges(SurvivesForks):
    """The times of the last changes of users and organizations. A token with your id counts only if it is newer."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._each: dict[str, float] = {}
        self._all = clock()  # changes before the start of this process are not known
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()

    def note(self, keys: Collection[str] | None) -> None:
        """Note a write to these keys of users and organizations. None means all of them."""
        with self._lock:
            if keys is None or len(self._each) + len(keys) > self._limit:
                self._all = self._clock()
                self._each.clear()
            else:
                self._each |= dict.fromkeys(keys, self._clock())

    def last_change(self, key: str) -> float:
        """Return the time of the last change of a key, in seconds since 1970."""
        return max(self._all, self._each.get(key, 0.0))
