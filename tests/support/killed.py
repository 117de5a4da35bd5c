"""Processes that write until they are killed, and what they have said by then."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

T = TypeVar("T")


class Child(Generic[T]):
    """A process that writes, and what it has said by now. An exclamation mark is what it never should say."""

    def __init__(self, work: Callable[[T, Connection], None], orders: T, preload: str) -> None:
        context = multiprocessing.get_context("forkserver")  # a process that has imported it all once forks the others
        context.set_forkserver_preload(["clerkmap.repositories", "svix.webhooks", preload])
        self.orders = orders
        self.said = b""
        self.pipe, theirs = context.Pipe(duplex=False)
        self._process: BaseProcess = context.Process(target=work, args=(orders, theirs), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe ends with the process

    def listen(self) -> bool:
        """Wait until it says more. False when it will not."""
        heard = os.read(self.pipe.fileno(), 65536)
        self.said += heard
        return heard != b""

    def kill(self) -> None:
        """As a power cut would."""
        self._process.kill()

    def bury(self) -> None:
        """Hear the last of it, which must have been killed at work."""
        while self.listen():
            pass
        self.pipe.close()
        self._process.join()
        assert b"!" not in self.said, self.said.decode()
        assert self._process.exitcode == -signal.SIGKILL
        self._process.close()
