"""A dictionary with a size limit, which neither an attacker nor a long uptime can exceed."""

import threading
from itertools import islice
from typing import Generic, TypeVar

from .forks import SurvivesForks

K = TypeVar("K")
V = TypeVar("V")


class Bounded(dict[K, V], SurvivesForks, Generic[K, V]):
    """A dictionary that forgets its oldest entries instead of growing."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit: int = limit
        self._lock = threading.Lock()
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def __repr__(self) -> str:
        return f"Bounded({len(self)})"  # without the entries, which may be tokens

    def keep(self, key: K, value: V) -> None:
        with self._lock:
            if len(self) >= self.limit:
                for oldest in list(islice(self, self.limit // 8 + 1)):
                    del self[oldest]
            self[key] = value
