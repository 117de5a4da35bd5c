"""What other processes have written: `LISTEN`, on a connection and a thread of its own.

Nothing that was said while nobody listened can be had afterwards, so whenever listening begins, everything that is
remembered is forgotten. And silence proves nothing: a line that has been cut, or a pooler that swallows what it does
not know, sounds the same. So the listener asks for an answer again and again, and is believed only while it gets one.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection

import psycopg

from ...forks import SurvivesForks

logger: logging.Logger = logging.getLogger("clerkmap.repositories")
BEAT = 0.2  # seconds between two proofs that the connection lives
BELIEVED_FOR = 0.5  # seconds since the last one
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds before it connects again

Heard = Callable[[Collection[str] | None], None]
Connect = Callable[[], "psycopg.Connection[tuple[object, ...]]"]


class Listener(SurvivesForks):
    """Listens from the first time that it is asked whether it does."""

    def __init__(self, connect: Connect, channel: str, heard: Heard) -> None:
        self._connect = connect
        self._channel = channel
        self._heard = heard
        self._make_thread()
        self.survive_forks()

    def _make_thread(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._proven_at = float("-inf")
        self._closed = threading.Event()

    def after_fork_in_child(self) -> None:
        self._make_thread()

    def is_listening(self) -> bool:
        """Whether all that was committed until a moment ago has been heard."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closed.is_set():
                    self._thread = threading.Thread(target=self._listen, name="clerkmap-listener", daemon=True)
                    self._thread.start()
        return time.monotonic() - self._proven_at < BELIEVED_FOR

    def close(self) -> None:
        """Stop listening."""
        with self._lock:
            self._closed.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)

    def _listen(self) -> None:
        closed, failures = self._closed, 0
        while not closed.is_set():
            begun = time.monotonic()
            try:
                with self._connect() as connection:
                    self._listen_on(connection, closed)
            except psycopg.Error as error:
                logger.warning(
                    "not listening for changes (%s): what is remembered is checked instead", type(error).__name__
                )
            except Exception:
                logger.exception("a listener failed")
            failures = 0 if time.monotonic() - begun > 5 else failures + 1
            closed.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])

    def _listen_on(self, connection: "psycopg.Connection[tuple[object, ...]]", closed: threading.Event) -> None:
        connection.execute(f"LISTEN {self._channel}".encode())
        self._heard(None)
        while not closed.is_set():
            asked_at = time.monotonic()
            connection.execute("SELECT 1")
            self._proven_at = asked_at
            for notice in connection.notifies(timeout=BEAT):
                self._heard(notice.payload.split() or None)
