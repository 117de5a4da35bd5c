"""Hooks for forks: they replace objects that the parent and the child process must not share.

A lock that another thread holds during the fork is never released in the child: that thread does not exist there.
SQLite keeps its file locks in the memory of the process: a copy would count on locks that it does not hold.
"""

import logging
import os
import threading
import weakref
from collections.abc import Callable

logger: logging.Logger = logging.getLogger("clerkmap._runtime.forks")


class SurvivesForks:
    """A base class with hooks for forks, active after `survive_forks`. Override the hooks you need."""

    def survive_forks(self) -> None:
        """Start to call the hooks, for as long as this object lives."""
        _surviving.append(weakref.ref(self, _surviving.remove))

    def before_fork(self) -> None:
        """Prepare the parent, before it is copied."""

    def after_fork_in_parent(self) -> None:
        """Restore the parent, after it was copied."""

    def after_fork_in_child(self) -> None:
        """Restore the child, before any other code runs there."""


_surviving: list[weakref.ref[SurvivesForks]] = []
_told: list[SurvivesForks] = []  # the same objects before and after a fork, so that each gets both calls
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
    except BaseException:  # Python forks all the same, and the other hooks must run
        logger.exception("a callback of a fork failed")


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
