"""Who hears of what is written, and when: hooks of yours inside the transaction, everybody else after it."""

import logging
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from inspect import isawaitable, iscoroutinefunction, isgeneratorfunction
from typing import Any

from .core.model import Change
from .errors import ConfigurationError, HookFailed, traceback_without_values

logger: logging.Logger = logging.getLogger("clerkmap.hooks")

# Told, after a commit, the keys of what changed; None when that could be anything.
Watcher = Callable[[Collection[str] | None], None]


# Called inside the transaction that made a change, with the change and the transaction. What it raises undoes both.
Hook = Callable[[Change, Any], object]
# Called with a change after its commit: at most once, for the process may end in between.
AfterCommit = Callable[[Change], object]


class Listeners:
    """Whoever wants to know what was written, and when: inside the transaction, or after it.

    Hooks are plain functions. Where the transaction speaks async, they may be async functions too.
    """

    def __init__(
        self, hooks: Iterable[Hook] = (), after_commit: Iterable[AfterCommit] = (), *, speaks_async: bool = False
    ) -> None:
        self._speaks_async = speaks_async
        self._watchers: list[Watcher] = []
        self._hooks: list[Hook] = []
        self._after_commit: list[AfterCommit] = []
        self.add(hooks, after_commit)

    def add(self, hooks: Iterable[Hook] = (), after_commit: Iterable[AfterCommit] = ()) -> None:
        """Take in several at once, each only if it is not there already."""
        if not all(isinstance(several, Iterable) and not callable(several) for several in (hooks, after_commit)):
            raise ConfigurationError("hooks and after_commit are lists of functions, also where there is one")
        for hook in hooks:
            self.hook(hook)
        for listener in after_commit:
            self.after_commit(listener)

    def watch(self, watcher: Watcher) -> None:
        """Have a function called after each commit that wrote something."""
        self._watchers.append(watcher)

    def hook(self, hook: Hook) -> None:
        """Have a function called inside each transaction, with each change."""
        self._add(self._hooks, hook)

    def after_commit(self, listener: AfterCommit) -> None:
        """Have a function called after each commit, with each change."""
        self._add(self._after_commit, listener)

    @property
    def has_hooks(self) -> bool:
        """Whether anybody wants to be called inside the transaction."""
        return bool(self._hooks)

    def call(self, written: Collection[Change], transaction: Any, is_open: Callable[[], bool]) -> None:
        """Inside the transaction, as long as it is open: call every hook with every change."""
        for hook, change in _pairs(self._hooks, written):
            with self._judging(hook, is_open):
                hook(change, transaction)

    async def acall(self, written: Collection[Change], transaction: Any, is_open: Callable[[], bool]) -> None:
        """The same, awaiting each hook that is to be awaited."""
        for hook, change in _pairs(self._hooks, written):
            with self._judging(hook, is_open):
                result = hook(change, transaction)
                if isawaitable(result):
                    await result

    def tell(self, written: Collection[Change], *, committed: bool = True) -> None:
        """After the transaction: tell what was written."""
        if written:
            with self._telling(written):
                for listener, change in _pairs(self._after_commit if committed else (), written):
                    with _reported(listener):
                        listener(change)

    async def atell(self, written: Collection[Change], *, committed: bool = True) -> None:
        """The same, awaiting each listener that is to be awaited."""
        if written:
            with self._telling(written):
                for listener, change in _pairs(self._after_commit if committed else (), written):
                    with _reported(listener):
                        result = listener(change)
                        if isawaitable(result):
                            await result

    def heard(self, keys: Collection[str] | None) -> None:
        """Somebody has written about these persons and organizations; None for all of them."""
        raised: list[Exception] = []
        for watcher in self._watchers:
            try:
                watcher(keys)
            except Exception as error:  # noqa: BLE001 - the others must be told all the same
                raised.append(error)
        if raised:
            raise raised[0]

    @contextmanager
    def _telling(self, written: Collection[Change]) -> Generator[None, None, None]:
        """Tell the watchers first. What one raises must not keep the rest from being told."""
        try:
            self.heard(frozenset(key for change in written for key in change.touches))
        except Exception:
            yield
            raise
        yield

    @contextmanager
    def _judging(self, hook: Hook, is_open: Callable[[], bool]) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:
            raise HookFailed(f"{_name(hook)} raised {type(error).__name__}") from error
        finally:
            if not is_open():
                self.heard(None)  # what it has committed, if anything, nobody knows
                raise ended_from_within()

    def _add(self, listeners: list[Any], listener: Any) -> None:
        if not callable(listener):
            raise ConfigurationError(
                "a hook is a function of a change and a transaction; after_commit ones, of a change"
            )
        functions = (listener, type(listener).__call__)
        is_awaited = self._speaks_async and any(map(iscoroutinefunction, functions))
        if not is_awaited and any(map(_is_lazy, functions)):
            raise ConfigurationError(
                "hooks are plain functions, unless the repository's driver speaks async: nobody would await this one"
            )
        if listener not in listeners:  # two reconcilers on one repository are given the same hooks
            listeners.append(listener)


def _is_lazy(function: object) -> bool:
    return iscoroutinefunction(function) or isgeneratorfunction(function)


def _pairs(functions: Collection[Any], written: Collection[Change]) -> Iterator[tuple[Any, Change]]:
    """Each change that is news, with every function that is to be called with it."""
    for change in written if functions else ():
        if change.is_news:
            for function in list(functions):
                yield function, change


@contextmanager
def _reported(listener: AfterCommit) -> Generator[None, None, None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - it is committed, whatever becomes of the mail
        logger.error("the after_commit listener %s failed\n%s", _name(listener), traceback_without_values(error))


def _name(function: object) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)


def ended_from_within() -> ConfigurationError:
    """A transaction that a hook was handed has been committed or undone when the hook returns."""
    return ConfigurationError("a hook has ended the transaction that it was given: it must not")


def written_from_within() -> ConfigurationError:
    """One transaction cannot wait for another on the same thread."""
    return ConfigurationError(
        "a hook or a linker must not write through the repository: use the transaction it is given"
    )
