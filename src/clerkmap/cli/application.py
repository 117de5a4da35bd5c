"""The repository that an application has made for itself, as a command sees it: with its hooks, its linker, its ids.

It is named as servers name an application, `module:name`, and looked for in the current folder first. It is a
repository, or a function that makes one; an asynchronous one is driven by an event loop on a thread of its own.
"""

import asyncio
import inspect
import os
import sys
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any, cast

from ..errors import ClerkmapError, ConfigurationError
from ..ports import Repository, is_async
from ..repositories.sql.schema import SCHEMA_VERSION
from .database import CommandDatabase, DatabaseState, NewIds, NotWritten


class Application(CommandDatabase):
    """The repository of that name. What is to be done to its tables was done when it was made."""

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
            raise ConfigurationError(f"{option} contradicts --repository, which makes ids as it was told to")
        return found

    def check_writable(self) -> bool:
        return False

    def open(self, found: DatabaseState, *, writes: bool) -> Repository:
        return self._repository

    def migrate(self, ids: NewIds | None, found: DatabaseState) -> None:
        """Nothing is left to do."""

    def ddl(self, since: int, ids: NewIds | None, found: DatabaseState) -> str:
        raise ConfigurationError("what a repository of your own would do to its tables, ddl() of its class prints")

    @contextmanager
    def trying(self, found: DatabaseState) -> Generator[Repository]:
        """The same repository, which raises `NotWritten` in place of the first thing that it would write."""
        try:
            yield cast(Repository, _Unwritten(self._repository))
        finally:
            self._repository.close()


def _loaded(name: str, shown: str) -> Repository:
    """What a name leads to."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigurationError("--repository must be module:name, such as app.clerk:repository")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with _code_of_theirs(shown, module):
        if os.environ.get("DJANGO_SETTINGS_MODULE"):
            import django

            django.setup()
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part, None)
        if found is None:
            raise ConfigurationError(f"{shown} is not found: the module has nothing of that name")
        if not _is_repository(found) and callable(found):
            found = found()
        loop = None
        if inspect.iscoroutine(found):
            loop = _Loop()
            found = loop.wait(found)
    if not _is_repository(found):
        raise ConfigurationError(f"{shown} is neither a repository nor a function that makes one")
    return cast(Repository, _Driven(found, loop or _Loop()) if is_async(found) else found)


def _is_repository(found: object) -> bool:
    return not inspect.isclass(found) and hasattr(found, "put") and hasattr(found, "listeners")


@contextmanager
def _code_of_theirs(shown: str, module: str) -> Generator[None]:
    """Of an exception of the application's only the class is told: its text may hold anything. What it prints while it
    begins is talk, and no data of this command's."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except ClerkmapError:
        raise  # it says itself what to do, and nothing secret
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the application's, and may be anything
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise ConfigurationError(
                f"{shown} is not found: there is no module {missing} in this folder, nor in PYTHONPATH"
            ) from None
        raise ConfigurationError(
            f"{shown} cannot be had: {type(error).__name__}. See why with: python -c 'import {module}'"
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
    """A repository that can only be read."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name) if name in _READS else _refuse


def _refuse(*_: object, **__: object) -> object:
    raise NotWritten


class _Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run it there, and wait for what it gives."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def end(self) -> None:
        """Nothing runs there any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Driven:
    """An asynchronous repository as a synchronous one: each call waits for what it gives."""

    def __init__(self, repository: Any, loop: _Loop) -> None:
        self._repository = repository
        self._loop = loop

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
