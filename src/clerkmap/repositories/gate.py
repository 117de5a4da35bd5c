"""A gate that can be shut: any number of threads go in, and somebody may wait until all have left."""

import threading
from collections.abc import Generator
from contextlib import contextmanager


class Gate:
    """While it is shut, nobody gets in but those who are inside already and go in once more."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._shut = False
        self._mine = threading.local()

    @contextmanager
    def inside(self) -> Generator[None, None, None]:
        """Be inside for the length of a block, as soon as the gate is open."""
        depth: int = getattr(self._mine, "depth", 0)
        with self._changed:
            if depth == 0:
                self._changed.wait_for(lambda: not self._shut)
            self._inside += 1
        self._mine.depth = depth + 1
        try:
            yield
        finally:
            self._mine.depth = depth
            with self._changed:
                self._inside -= 1
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
