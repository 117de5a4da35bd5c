"""The resolver's two memories: tokens that have been verified, and the standing of the people behind them.

Reading takes no lock: a reader finds an entry that is whole, or none. Both are bounded, and when one is full its oldest
eighth makes room. A stranger cannot fill them, for nothing is kept of a token that proves nothing.
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
CallerIds = tuple[str, str | None, str | None]  # Clerk's ids: of a person, the organization they act in, the session


class Known:
    """The standing of one caller, for as long as nothing was written about it: about any of the keys."""

    __slots__ = ("at", "current", "epoch", "keys", "standing")

    def __init__(self, standing: Standing, keys: tuple[str, ...], epoch: int, at: float) -> None:
        self.standing: Standing = standing
        self.keys: tuple[str, ...] = keys
        self.epoch: int = epoch
        self.at: float = at  # when it was true
        self.current: bool = True


class Seen:
    """A token that has been verified, under which keys, and until when that stays true.

    `seat` is the principal it led to, with the standing that made it: one value, so that no reader finds the principal
    of one standing beside another.
    """

    __slots__ = ("claims", "ends", "generation", "seat", "starts")

    def __init__(self, claims: Claims, generation: int, starts: float, ends: float) -> None:
        self.claims: Claims = claims
        self.generation: int = generation
        self.starts: float = starts
        self.ends: float = ends
        self.seat: tuple[Known, Principal] | None = None


class Standings(SurvivesForks):
    """Standings by caller, and which of them a change of one person or organization touches.

    `epoch` grows with each change. A standing that was read before a change of the same person or organization, and
    would be kept after it, is not kept: it may show the state of before.

    Args:
        limit: How many standings to keep.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._known: dict[CallerIds, Known] = {}
        self._stale: dict[CallerIds, Known] = {}  # those that may be out of date
        self._touched_by: dict[str, set[CallerIds]] = {}
        self._changed: dict[str, int] = {}  # the epoch of each key's last change, for the keys that changed last
        self._changed_before = 0  # the epoch up to which other keys may have changed
        self._all_changed = 0  # the epoch at which anything may have changed
        self._vouched_at = float("-inf")
        self.epoch: int = 0
        self.get: Callable[[CallerIds], Known | None] = self._known.get
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self.forget(None)
        self._stale.clear()

    def keep(self, caller: CallerIds, standing: Standing, epoch: int, at: float = float("-inf")) -> Known | None:
        """Keep a standing that was read at this epoch and time. None if it may be out of date already."""
        keys = tuple(key_of(clerk_id) for clerk_id in caller if clerk_id is not None)
        with self._lock:
            if epoch < self._all_changed or not standing.settled or not self._is_unchanged(keys, epoch):
                return None
            _make_room(self._known, self._limit, self._drop)
            self._drop(caller)
            self._stale.pop(caller, None)
            known = self._known[caller] = Known(standing, keys, epoch, at)
            for key in keys:
                self._touched_by.setdefault(key, set()).add(caller)
            return known

    def vouch(self, at: float) -> None:
        """Note that what is kept was true at this time: all that was written before it has been heard of."""
        self._vouched_at = at

    def was_known(self, caller: CallerIds) -> bool:
        """Whether a standing of this caller was kept until memory was dropped as a whole."""
        return caller in self._stale

    def stale(self, caller: CallerIds, since: float) -> Standing | None:
        """Return a standing that may be out of date, if it was true at this time or later, and if no change of it has
        been heard of."""
        with self._lock:
            known = self._known.get(caller)
            if known is not None:
                return known.standing if max(known.at, self._vouched_at) >= since else None
            known = self._stale.get(caller)
            if known is None or known.at < since or not self._is_unchanged(known.keys, known.epoch):
                return None
            return known.standing

    def forget(self, keys: Collection[str] | None) -> None:
        """Drop what a change of these persons and organizations touches; None for everything."""
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
        for caller, known in self._known.items():
            known.current = False
            known.at = max(known.at, self._vouched_at)
            _make_room(self._stale, self._limit, self._stale.pop)
            self._stale[caller] = known
        self._known.clear()
        self._touched_by.clear()

    def _is_unchanged(self, keys: tuple[str, ...], epoch: int) -> bool:
        return epoch >= self._changed_before and all(self._changed.get(key, 0) <= epoch for key in keys)

    def _drop_change(self, key: str) -> None:
        self._changed_before = max(self._changed_before, self._changed.pop(key))

    def _drop(self, caller: CallerIds) -> None:
        known = self._known.pop(caller, None)
        if known is None:
            return
        known.current = False  # tokens point to it
        for key in known.keys:
            callers = self._touched_by[key]
            callers.discard(caller)
            if not callers:
                del self._touched_by[key]


def _make_room(kept: dict[K, Any], limit: int, drop: Callable[[K], object]) -> None:
    """Drop the oldest eighth of what is kept, if it is full."""
    if len(kept) >= limit:
        for oldest in list(islice(kept, limit // 8 + 1)):
            drop(oldest)


class Heard(SurvivesForks):
    """When something was last heard of whom. What a token says of somebody counts only if it is newer."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._each: dict[str, float] = {}
        self._all = clock()  # what was before this process, it has not heard
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()

    def hear(self, keys: Collection[str] | None) -> None:
        """Something was written about these persons and organizations; None for all."""
        with self._lock:
            if keys is None or len(self._each) + len(keys) > self._limit:
                self._all = self._clock()
                self._each.clear()
            else:
                self._each |= dict.fromkeys(keys, self._clock())

    def last(self, key: str) -> float:
        """When that was, in seconds since 1970."""
        return max(self._all, self._each.get(key, 0.0))
