"""Forks: what must not be shared by the two processes that one becomes.

A lock that another thread holds at that moment is held for ever in the child, where that thread does not exist. And
SQLite keeps its file locks in the memory of the process: a copy of them would believe that it holds what it does not.
"""

import logging
import os
import threading
import weakref
from collections.abc import Callable

logger: logging.Logger = logging.getLogger("clerkmap._runtime.forks")


class SurvivesForks:
    """Something that is told of forks, once it has called `survive_forks`. Override the hooks you need."""

    def survive_forks(self) -> None:
        """From now on, and for as long as this lives, call the hooks."""
        _surviving.append(weakref.ref(self, _surviving.remove))

    def before_fork(self) -> None:
        """In the parent, before it is copied."""

    def after_fork_in_parent(self) -> None:
        """In the parent, when it has been copied."""

    def after_fork_in_child(self) -> None:
        """In the child, before anything else runs there."""


_surviving: list[weakref.ref[SurvivesForks]] = []
_told: list[SurvivesForks] = []  # kept from before a fork until after it, so that nobody is told half
_one_at_a_time = threading.Lock()


def _before() -> None:
    _one_at_a_time.acquire()
    _told[:] = [thing for reference in list(_surviving) if (thing := reference()) is not None]
    for thing in _told:
        _call(thing.before_fork)


def _in_parent() -> None:
    for thing in _told:
        _call(thing.after_fork_in_parent)
    _told.clear()
    _one_at_a_time.release()


def _in_child() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()
    for thing in _told:
        _call(thing.after_fork_in_child)
    _told.clear()


def _call(hook: Callable[[], None]) -> None:
    try:
        hook()
    except BaseException:  # Python forks all the same, and the others must be told
        logger.exception("a fork was not prepared for")


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
