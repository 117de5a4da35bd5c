"""The loan of a repository's connection to the hooks and linkers that it calls during a write."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any


class _Lent:
    def __init__(self, lending: "Lending", connection: object) -> None:
        self.lending = lending
        self.connection: object | None = connection
        self.process = os.getpid()


_lent: ContextVar[tuple[_Lent, ...]] = ContextVar("clerkmap_lent", default=())


class Lending:
    """The connection that one repository writes on, for the hooks and linkers that it calls meanwhile. They read with
    it, and must not write."""

    def connection(self) -> Any:
        """Return the connection inside a hook or a linker of a write, and None elsewhere."""
        for lent in _lent.get():
            # A process that a hook has forked must not use its parent's connection.
            if lent.lending is self and lent.connection is not None and lent.process == os.getpid():
                return lent.connection
        return None

    @contextmanager
    def of(self, connection: object) -> Generator[None, None, None]:
        """Lend the connection for the length of a write."""
        lent = _Lent(self, connection)
        before = _lent.set((*_lent.get(), lent))
        try:
            yield
        finally:
            lent.connection = None  # also for a task that a hook has begun, and that goes on with a copy of all this
            with suppress(ValueError):  # a generator may end in another context than it began in
                _lent.reset(before)
