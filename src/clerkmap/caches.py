"""The resolver's two memories: tokens that have been verified, and the standing of the people behind them.

Reading takes no lock: a reader finds an entry that is whole, or none. Both are bounded, and when one is full its oldest
eighth makes room. A stranger cannot fill them, for nothing is kept of a token that proves nothing.
"""

import threading
from collections.abc import Callable, Collection
from itertools import islice

from .core.claims import Claims
from .core.principal import Principal, Standing
from .core.records import key_of
from .forks import SurvivesForks

CallerIds = tuple[str, str | None, str | None]  # Clerk's ids: of a person, the organization they act in, the session


class Known:
    """The standing of one caller, for as long as nothing was written about it: about any of the keys."""

    __slots__ = ("current", "keys", "standing")

    def __init__(self, standing: Standing, keys: tuple[str, ...]) -> None:
        self.standing: Standing = standing
        self.keys: tuple[str, ...] = keys
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

    `epoch` grows with each change. A standing that was read before a change and would be kept after it is not kept:
    nobody can tell which of the two it shows.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._known: dict[CallerIds, Known] = {}
        self._touched_by: dict[str, set[CallerIds]] = {}
        self.epoch: int = 0
        self.get: Callable[[CallerIds], Known | None] = self._known.get
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self.forget(None)

    def keep(self, caller: CallerIds, standing: Standing, epoch: int) -> Known | None:
        """Keep a standing that was read at this epoch. None if it may be out of date already."""
        with self._lock:
            if epoch != self.epoch or not standing.settled:
                return None
            if len(self._known) >= self._limit:
                for oldest in list(islice(self._known, self._limit // 8 + 1)):
                    self._drop(oldest)
            self._drop(caller)
            keys = tuple(key_of(clerk_id) for clerk_id in caller if clerk_id is not None)
            known = self._known[caller] = Known(standing, keys)
            for key in keys:
                self._touched_by.setdefault(key, set()).add(caller)
            return known

    def forget(self, keys: Collection[str] | None) -> None:
        """Drop what a change of these persons and organizations touches; None for everything."""
        with self._lock:
            self.epoch += 1
            if keys is None:
                for known in self._known.values():
                    known.current = False
                self._known.clear()
                self._touched_by.clear()
                return
            for key in keys:
                for caller in list(self._touched_by.get(key, ())):
                    self._drop(caller)

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
