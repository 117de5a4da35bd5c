"""A repository that an application has created, with its hooks, linker and ids, for use in a command.

It is named like an application of a server, `module:name`, and searched in the current folder first. The name leads to
a repository or to a function that returns one. An async repository runs in an event loop on its own thread.
"""

import asyncio
import inspect
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any, TypeVar, cast

from ..core.events import Event
from ..core.instance import Instance
from ..errors import ClerkmapError, ConfigurationError
from ..ports import Repository, is_async
from ..repositories.sql.schema import SCHEMA_VERSION
from ..sync import OnProgress, Replayed, areplay_hooks, replay_hooks
from ..webhooks import Outcome, Reconciler
from .database import CommandDatabase, DatabaseState, NewIds, NotWritten

T = TypeVar("T")


class Application(CommandDatabase):
    """The repository with this name. The application has migrated its tables."""

    def __init__(self, name: str) -> None:
        self.shown: str = f"the repository {name}"
        self._repository = _loaded(name, self.shown)

    def look(self) -> DatabaseState:
        return DatabaseState(SCHEMA_VERSION)

    def check(
        self, found: DatabaseState, ids: NewIds | None = None, *, makes: bool = False, first_id: int | None = 0
    ) -> DatabaseState:
        if ids is not None or first_id:
            option = "--ids" if ids is not None else "--first-id"
            raise ConfigurationError(f"{option} contradicts --repository: your application chooses the ids")
        return found

    def check_writable(self) -> bool:
        return False

    def open(self, found: DatabaseState, *, writes: bool) -> Repository:
        return self._repository

    def migrate(self, ids: NewIds | None, found: DatabaseState) -> None:
        """Do nothing: the application has migrated its tables."""

    def ddl(self, since: int, ids: NewIds | None, found: DatabaseState) -> str:
        raise ConfigurationError("this command has no DDL of your own repository: print it with ddl() of its class")

    @contextmanager
    def trying(self, found: DatabaseState) -> Generator[Repository]:
        """Yield the repository, which raises `NotWritten` instead of its first write."""
        try:
            yield cast(Repository, _Unwritten(self._repository))
        finally:
            self._repository.close()


class ApplicationReconciler:
    """The reconciler with this name, with its repository and handlers. An async one runs like an async repository."""

    def __init__(self, name: str) -> None:
        shown = f"the reconciler {name}"
        found, loop = _found(name, shown, "--reconciler", lambda found: isinstance(found, Reconciler))
        if not isinstance(found, Reconciler):
            raise ConfigurationError(f"{shown} is neither a Reconciler nor a function that makes one")
        self._reconciler = found
        self._loop = (loop or _Loop()) if is_async(found.repository) else None
        self.instance: Instance = found.instance

    def apply(self, event: Event, *, delivery_id: str | None, again: bool) -> Outcome:
        """Apply an event."""
        if self._loop is None:
            return self._reconciler.apply(event, delivery_id=delivery_id, again=again)
        outcome: Outcome = self._loop.wait(self._reconciler.aapply(event, delivery_id=delivery_id, again=again))
        return outcome

    def close(self) -> None:
        """Close the repository."""
        closing: Any = self._reconciler.repository.close()
        if self._loop is not None:
            self._loop.wait(closing)
            self._loop.end()


def replayed(
    hook: str, repository: Repository, *, name: str | None, anew: bool, progress: OnProgress | None
) -> Replayed:
    """Replay the hook with this name. An async repository does it in its event loop."""
    shown = f"the hook {hook}"
    found, _ = _found(hook, shown, "--hook", callable)
    if not callable(found):
        raise ConfigurationError(f"{shown} is not a function")
    options: dict[str, Any] = {"name": name or hook, "anew": anew, "progress": progress}
    if isinstance(repository, _Driven):
        return repository.in_loop(lambda own: areplay_hooks(own, found, **options))
    return replay_hooks(repository, found, **options)


def _loaded(name: str, shown: str) -> Repository:
    """Return the repository with this name."""
    found, loop = _found(name, shown, "--repository", _is_repository)
    if not _is_repository(found):
        raise ConfigurationError(f"{shown} is neither a repository nor a function that makes one")
    return cast(Repository, _Driven(found, loop or _Loop()) if is_async(found) else found)


def _found(name: str, shown: str, option: str, is_wanted: Callable[[object], bool]) -> "tuple[Any, _Loop | None]":
    """Return the object with this name, or the result of the function with this name, and the loop that awaited it."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigurationError(f"{option} must be module:name, such as app.clerk:{option.removeprefix('--')}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with _application_code(shown, module):
        if os.environ.get("DJANGO_SETTINGS_MODULE"):
            import django

            django.setup()
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part, None)
        if found is None:
            raise ConfigurationError(f"{shown} is not found: the module does not have this name")
        if not is_wanted(found) and callable(found):
            found = found()
        loop = None
        if inspect.iscoroutine(found):
            loop = _Loop()
            found = loop.wait(found)
    return found, loop


def _is_repository(found: object) -> bool:
    return not inspect.isclass(found) and hasattr(found, "put") and hasattr(found, "listeners")


@contextmanager
def _application_code(shown: str, module: str) -> Generator[None]:
    """Run code of the application.

    Only the class of its exceptions is shown, since the text may hold secrets. Its output while it loads goes to
    stderr.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except ClerkmapError:
        raise  # its text says what to do, and holds no secret
    except (Exception, SystemExit) as error:  # noqa: BLE001 - code of the application may raise anything
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise ConfigurationError(
                f"{shown} is not found: there is no module {missing} in this folder or in PYTHONPATH"
            ) from None
        raise ConfigurationError(
            f"{shown} cannot be loaded: {type(error).__name__}. See the cause with: python -c 'import {module}'"
        ) from None


_READS = frozenset(
    {
        *(
            "find",
            "user",
            "organization",
            "row",
            "export",
            "records",
            "record",
            "counts",
            "search",
            "checkpoint",
            "outbox",
        ),
        *("outbox_entry", "poll", "poll_every", "listeners", "write_back"),
        *("ranks", "max_token_lifetime", "needs_full_user"),
    }
)


class _Unwritten:
    """A repository that refuses every method that writes."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name) if name in _READS else _refuse


def _refuse(*_: object, **__: object) -> object:
    raise NotWritten


class _Loop:
    """An event loop on its own thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the loop, and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def end(self) -> None:
        """Stop the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Driven:
    """A sync facade of an async repository: each call waits for its result."""

    def __init__(self, repository: Any, loop: _Loop) -> None:
        self._repository = repository
        self._loop = loop

    def in_loop(self, function: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Run a function of the repository in its loop."""
        done: T = self._loop.wait(function(self._repository))
        return done

    def close(self) -> None:
        self._loop.wait(self._repository.close())
        self._loop.end()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._repository, name)
        if not inspect.iscoroutinefunction(found):
            return found

        def waited(*arguments: Any, **named: Any) -> Any:
            return self._loop.wait(found(*arguments, **named))

        return waited
