"""A cache for what your application computes from users, organizations and memberships.

    cache = ReadCache(repository)
    menu = cache.get(("menu", user.id), lambda: load_menu(user), rows=lambda menu: [user])

A value is dropped when one of its rows changes, in this process or another one. `keys_of_rows` is for a cache of your
own: pass a function to `repository.listeners.watch`, which is called with the keys of changed rows.
"""

import threading
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable
from typing import Any, TypeVar, cast

from .._runtime.forks import SurvivesForks
from ..core.model import Member, Membership, Organization, User
from ..errors import ConfigurationError
from ..ports import AsyncCoreRepository, CoreRepository, is_async

V = TypeVar("V")
Row = User[Any] | Organization[Any] | Membership | Member[Any]
# Returns the rows that a value shows.
Rows = Callable[[V], Iterable[Row]]

LIMIT = 10_000  # values


def keys_of_rows(*rows: Row) -> frozenset[str]:
    """Return the keys with which a watcher is called when one of these rows changes.

    A user and an organization have one key. A membership has those of its user and its organization, and is changed
    with the key of its user.
    """
    keys = set[str]()
    for row in rows:
        if isinstance(row, Member):
            keys |= {row.user.clerk.key, row.organization.clerk.key}
        elif isinstance(row, Membership):
            keys |= {row.clerk.user_key, row.clerk.organization_key}
        else:
            keys.add(row.clerk.key)
    return frozenset(keys)


class ReadCache(SurvivesForks):
    """Values by their names. A value is dropped when a row that it shows changes, in any process.

    Threads and tasks can share it. Changes of other processes are noticed as fast as a `Resolver` does. Do not fill it
    inside your own transaction: it would keep what you may roll back.

    Args:
        repository: The repository, sync or async.
        limit: How many values to keep. Beyond that, the oldest ones are dropped.
        monotonic: A monotonic clock.
    """

    def __init__(
        self,
        repository: CoreRepository[Any] | AsyncCoreRepository[Any],
        *,
        limit: int = LIMIT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if type(limit) is not int or limit < 1:
            raise ConfigurationError("limit must be a whole number of values, at least 1")
        self._repository = repository
        self._is_async = is_async(repository)
        self._limit = limit
        self._monotonic = monotonic
        self._poll_at = float("-inf")
        self._lock = threading.Lock()
        self._values: dict[Hashable, tuple[Any, frozenset[str] | None]] = {}
        self._names: dict[str | None, set[Hashable]] = {}  # by key; None has the values that every change drops
        self._epoch = 0
        repository.listeners.watch(self.forget)
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self.forget(None)

    def get(self, name: Hashable, read: Callable[[], V], *, rows: Rows[V] | None = None) -> V:
        """Return the value with this name. If there is none, read and keep it.

        Args:
            name: The name, such as `("menu", user.id)`.
            read: Reads the value.
            rows: Returns the rows that a value shows. By default, every change of any row drops the value: use that
                for lists, because a row that comes into a list has no key in it yet.
        """
        if self._is_async:
            raise ConfigurationError("the repository is async: await aget")
        if self._is_poll_due():
            cast(CoreRepository[Any], self._repository).poll()
            self._note_poll()
        found = self._values.get(name)
        if found is not None:
            return cast(V, found[0])
        epoch = self._epoch
        value = read()
        self._keep(name, value, rows, epoch)
        return value

    async def aget(self, name: Hashable, read: Callable[[], Awaitable[V]], *, rows: Rows[V] | None = None) -> V:
        """Do the same with an async repository and an async function."""
        if not self._is_async:
            raise ConfigurationError("the repository is sync: call get, or pass threaded(repository)")
        if self._is_poll_due():
            await cast(AsyncCoreRepository[Any], self._repository).poll()
            self._note_poll()
        found = self._values.get(name)
        if found is not None:
            return cast(V, found[0])
        epoch = self._epoch
        value = await read()
        self._keep(name, value, rows, epoch)
        return value

    def forget(self, keys: Collection[str] | None) -> None:
        """Drop the values that show one of these keys. None drops all of them."""
        with self._lock:
            self._epoch += 1
            if keys is None:
                self._values.clear()
                self._names.clear()
                return
            for key in (None, *keys):
                for name in self._names.pop(key, ()):
                    self._drop(name)

    def _keep(self, name: Hashable, value: V, rows: Rows[V] | None, epoch: int) -> None:
        keys = None if rows is None else keys_of_rows(*rows(value))
        with self._lock:
            if epoch != self._epoch:  # something has changed meanwhile: the value may show the state before
                return
            while len(self._values) >= self._limit:
                self._drop(next(iter(self._values)))
            self._drop(name)  # another thread may have kept it
            self._values[name] = value, keys
            for key in (None,) if keys is None else keys:
                self._names.setdefault(key, set()).add(name)

    def _drop(self, name: Hashable) -> None:
        _, keys = self._values.pop(name, (None, frozenset[str]()))
        for key in (None,) if keys is None else keys:
            names = self._names.get(key)
            if names is not None:
                names.discard(name)
                if not names:
                    del self._names[key]

    def _is_poll_due(self) -> bool:
        return self._repository.poll_every is not None and self._monotonic() >= self._poll_at

    def _note_poll(self) -> None:
        self._poll_at = self._monotonic() + (self._repository.poll_every or 0)
