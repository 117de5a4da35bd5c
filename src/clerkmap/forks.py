"""After a fork: what a child process must not inherit.

A lock that another thread held at that moment is held for ever in the child, where that thread does not exist, and a
database connection must not be used on both sides. Whoever has such a thing registers here, and is told in the child.
"""

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Something that must be made fit for use in a child process."""

    def after_fork(self) -> None:
        """Called in the child, before anything else runs there."""
        ...


_registered: list[weakref.ref[Forked]] = []


def tell_after_fork(thing: Forked) -> None:
    """Have `thing.after_fork()` called in each child process, for as long as the thing lives."""
    _registered.append(weakref.ref(thing, _registered.remove))


def _after_fork() -> None:
    for reference in _registered:
        thing = reference()
        if thing is not None:
            thing.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
