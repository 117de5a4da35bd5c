"""A gate that can be shut: any number of threads go in, and somebody may wait until all have left."""

import threading


class _Depth(threading.local):
    depth = 0


class Gate:
    """Use it as a context manager to be inside. While it is shut, nobody gets in but who is inside already.

    It stands on the way of every look-up, so it does no more than it must.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._shut = False
        self._mine = _Depth()

    def __enter__(self) -> None:
        with self._changed:
            if self._shut and self._mine.depth == 0:
                self._changed.wait_for(lambda: not self._shut)
            self._inside += 1
        self._mine.depth += 1

    def __exit__(self, *_: object) -> None:
        self._mine.depth -= 1
        with self._changed:
            self._inside -= 1
            if self._shut:
                self._changed.notify_all()

    def shut(self, timeout: float) -> bool:
        """Let nobody in, and wait for those inside. Whether they have all left in time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._shut = True
            return self._changed.wait_for(lambda: self._inside == 0, timeout)

    @property
    def is_occupied(self) -> bool:
        """Whether anybody is inside."""
        return self._inside > 0

    def open(self) -> None:
        """Let everybody in again."""
        with self._changed:
            self._shut = False
            self._changed.notify_all()
