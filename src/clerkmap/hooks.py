"""Listeners of a repository: your hooks run inside the transaction, all other listeners after it."""

import logging
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from inspect import isawaitable, iscoroutinefunction, isgeneratorfunction
from typing import Any

from .core.model import Change
from .errors import ConfigurationError, HookFailed, traceback_without_values

logger: logging.Logger = logging.getLogger("clerkmap.hooks")

# Called after a commit with the keys of the changed records. None means that any record may have changed.
Watcher = Callable[[Collection[str] | None], None]


# Called inside the transaction that made a change, with the change and the transaction. An exception rolls both back.
Hook = Callable[[Change, Any], object]
# Called inside a transaction, with the transaction, after the hooks. With an async driver it may return an awaitable.
Then = Callable[[Any], object]
# Called with a change after its commit. At most once, because the process may end between the two.
AfterCommit = Callable[[Change], object]


class Listeners:
    """The functions to call with each change, inside the transaction or after it.

    Hooks are plain functions. With an async driver, they may be async functions too.
    """

    def __init__(
        self, hooks: Iterable[Hook] = (), after_commit: Iterable[AfterCommit] = (), *, speaks_async: bool = False
    ) -> None:
        self.speaks_async: bool = speaks_async
        self._watchers: list[Watcher] = []
        self._hooks: list[Hook] = []
        self._after_commit: list[AfterCommit] = []
        self.add(hooks, after_commit)

    def add(self, hooks: Iterable[Hook] = (), after_commit: Iterable[AfterCommit] = ()) -> None:
        """Add several hooks and listeners, each only if it is not present yet."""
        if not all(isinstance(several, Iterable) and not callable(several) for several in (hooks, after_commit)):
            raise ConfigurationError("hooks and after_commit must be lists of functions")
        for hook in hooks:
            self.hook(hook)
        for listener in after_commit:
            self.after_commit(listener)

    def watch(self, watcher: Watcher) -> None:
        """Call this function after each commit that wrote something."""
        self._watchers.append(watcher)

    def hook(self, hook: Hook) -> None:
        """Call this function inside each transaction, with each change."""
        self._add(self._hooks, hook)

    def after_commit(self, listener: AfterCommit) -> None:
        """Call this function after each commit, with each change."""
        self._add(self._after_commit, listener)

    @property
    def has_hooks(self) -> bool:
        """Whether there is a hook to call inside the transaction."""
        return bool(self._hooks)

    def call(
        self, written: Collection[Change], transaction: Any, is_open: Callable[[], bool], then: Then | None = None
    ) -> None:
        """Call every hook with every change, and last `then`, inside the transaction and as long as it is open."""
        for hook, change in _pairs(self._hooks, written):
            with self._kept_open(is_open), _as_hook_failure(hook):
                hook(change, transaction)
        if then is not None:
            with self._kept_open(is_open):
                then(transaction)

    async def acall(
        self, written: Collection[Change], transaction: Any, is_open: Callable[[], bool], then: Then | None = None
    ) -> None:
        """Do the same as `call`, and await each async function."""
        for hook, change in _pairs(self._hooks, written):
            with self._kept_open(is_open), _as_hook_failure(hook):
                result = hook(change, transaction)
                if isawaitable(result):
                    await result
        if then is not None:
            with self._kept_open(is_open):
                result = then(transaction)
                if isawaitable(result):
                    await result

    def tell(self, written: Collection[Change], *, committed: bool = True) -> None:
        """Call the watchers after the transaction, and the `after_commit` listeners if it was committed."""
        if written:
            try:
                self.keys_changed(_keys_of(written))
            finally:  # an exception of a watcher must not keep the listeners from being called
                for listener, change in _pairs(self._after_commit if committed else (), written):
                    with _reported(listener):
                        listener(change)

    async def atell(self, written: Collection[Change], *, committed: bool = True) -> None:
        """Do the same as `tell`, and await each async listener."""
        if written:
            try:
                self.keys_changed(_keys_of(written))
            finally:
                for listener, change in _pairs(self._after_commit if committed else (), written):
                    with _reported(listener):
                        result = listener(change)
                        if isawaitable(result):
                            await result

    def keys_changed(self, keys: Collection[str] | None) -> None:
        """Call the watchers with the keys of users and organizations that were written. None means all of them."""
        raised: list[Exception] = []
        for watcher in self._watchers:
            try:
                watcher(keys)
            except Exception as error:  # noqa: BLE001 - the other watchers must be called all the same
                raised.append(error)
        if raised:
            raise raised[0]

    @contextmanager
    def _kept_open(self, is_open: Callable[[], bool]) -> Generator[None, None, None]:
        try:
            yield
        finally:
            if not is_open():
                self.keys_changed(None)  # it is unknown whether the hook has committed anything
                raise ended_from_within()

    def _add(self, listeners: list[Any], listener: Any) -> None:
        if not callable(listener):
            raise ConfigurationError(
                "a hook must be a function of a change and a transaction; an after_commit listener, of a change"
            )
        if not would_run(listener, speaks_async=self.speaks_async):
            raise ConfigurationError(
                "this repository takes plain functions as hooks and listeners, because it awaits none: "
                "AsyncPostgresRepository and AsyncSqlAlchemyRepository take async ones"
            )
        if listener not in listeners:  # two reconcilers of one repository may get the same hooks
            listeners.append(listener)


def would_run(function: object, *, speaks_async: bool) -> bool:
    """Return whether a call runs this function: the call of an async function alone does not, nor that of a
    generator."""
    functions = (function, type(function).__call__)
    if speaks_async and any(map(iscoroutinefunction, functions)):
        return True
    return not any(map(_is_lazy, functions))


def _is_lazy(function: object) -> bool:
    return iscoroutinefunction(function) or isgeneratorfunction(function)


def _keys_of(written: Iterable[Change]) -> frozenset[str]:
    """Return the keys of users and organizations that these changes affect."""
    return frozenset([key for change in written for key in change.touches])


def _pairs(functions: Collection[Any], written: Collection[Change]) -> Iterator[tuple[Any, Change]]:
    """Yield each change that is news, once with each of the functions."""
    for change in written if functions else ():
        if change.is_news:
            for function in list(functions):
                yield function, change


@contextmanager
def _as_hook_failure(hook: Hook) -> Generator[None, None, None]:
    try:
        yield
    except Exception as error:
        raise HookFailed(f"{name_of(hook)} raised {type(error).__name__}") from error


@contextmanager
def _reported(listener: AfterCommit) -> Generator[None, None, None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the change is committed, even if the listener fails
        logger.error("the after_commit listener %s failed\n%s", name_of(listener), traceback_without_values(error))


def name_of(function: object) -> str:
    """Return the name of a function, for logs and errors."""
    return getattr(function, "__qualname__", type(function).__qualname__)


def ended_from_within() -> ConfigurationError:
    """Return the error for a hook or a handler that has committed or rolled back its transaction."""
    return ConfigurationError("a hook or a handler must not end its transaction: remove the commit or rollback from it")


def written_from_within() -> ConfigurationError:
    """Return the error for a write from inside a transaction: it would wait for its own thread."""
    return ConfigurationError(
        "a hook, a handler or a linker must not write through the repository: use the transaction that it gets"
    )
