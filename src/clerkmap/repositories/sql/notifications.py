"""Notice the writes of other processes: `LISTEN`, with its own connection and thread.

PostgreSQL does not keep notifications for a disconnected listener, so the cache is cleared whenever listening begins.
And silence proves nothing: a cut connection, a pooler that hands the session on, and another database are all silent.
So a listener is trusted only after it has received a proof, which the repository has sent on its own connection. It is
trusted only while the same session continues to answer.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from ..._runtime.forks import SurvivesForks
from ...hooks import Watcher

logger: logging.Logger = logging.getLogger("clerkmap.repositories")
POLL_EVERY = 0.4  # seconds; with BELIEVED_FOR, less than the second within which a change is seen
BEAT = 0.2  # seconds between two proofs that the connection lives
BELIEVED_FOR = 0.5  # seconds since the last one
DEAF_AFTER = 5  # seconds without the proof, after it was sent
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds before it reconnects
_TELL_AFTER = 5  # failures in a row, in a second and a half: a lost connection is usually back by then
_GATHERS = 0.05  # seconds: in a rush of changes, one wake-up for each would cost more than the change
_PROOF = "proof "  # keys have no spaces, so none begins like this


class Listener(Protocol):
    """A connection that listens. One thread uses it."""

    def listen(self, channel: str) -> object:
        """Listen to a channel, and return the session that does so."""
        ...

    def session(self) -> object:
        """Ask the server for the session that answers now."""
        ...

    def payloads(self, seconds: float) -> list[str]:
        """Wait for a notification, at most so long, and return the payloads that have arrived."""
        ...

    def close(self) -> None: ...


Connect = Callable[[], Listener]


class HeardNothing(Exception):
    """A notification from the repository's connection does not reach the listener: they use two databases."""


class AnotherSession(Exception):
    """A pooler has replaced the session that listens."""


class Notifications(SurvivesForks):
    """A listener. It starts at the first call of `are_heard`."""

    def __init__(self, connect: Connect, channel: str, keys_changed: Watcher) -> None:
        self._connect = connect
        self._channel = channel
        self._keys_changed = keys_changed
        self._make_thread()
        self.survive_forks()

    def _make_thread(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._proven_at = float("-inf")
        self._wanted: str | None = None
        self._asked_at: float | None = None
        self._sent_at: float | None = None
        self._closed = threading.Event()

    def after_fork_in_child(self) -> None:
        self._make_thread()

    def are_heard(self) -> bool:
        """Return whether every commit until a moment ago has been received."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closed.is_set():
                    self._thread = threading.Thread(target=self._listen, name="clerkmap-listen", daemon=True)
                    self._thread.start()
        return time.monotonic() - self._proven_at < BELIEVED_FOR

    def wanted(self) -> str | None:
        """Return the proof to send on the channel, from the repository's connection, before this listener is trusted.

        None if no proof is needed, or another caller has just got it.
        """
        with self._lock:
            now = time.monotonic()
            if self._wanted is None or (self._asked_at is not None and now - self._asked_at < POLL_EVERY):
                return None
            self._asked_at = now
            return self._wanted

    def sent(self) -> None:
        """Note that the proof has been sent."""
        self._sent_at = self._sent_at or time.monotonic()

    def close(self) -> None:
        """Stop listening."""
        with self._lock:
            self._closed.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)

    def _listen(self) -> None:
        closed, self._failures = self._closed, 0
        while not closed.is_set():
            try:
                with closing(self._connect()) as listener:
                    self._listen_with(listener, closed)
            except Exception as error:  # noqa: BLE001 - a watcher's error, too: it may have missed a change
                is_cut = not isinstance(error, (HeardNothing, AnotherSession))
                if self._failures == (_TELL_AFTER if is_cut else 0):
                    told = "not listening for changes: %s; until it listens again, caches expire early"
                    logger.warning(told, type(error).__name__)
            self._wanted = None
            closed.wait(_PAUSES[min(self._failures, len(_PAUSES) - 1)])
            self._failures += 1

    def _listen_with(self, listener: Listener, closed: threading.Event) -> None:
        self._proven_at = float("-inf")
        session = listener.listen(self._channel)
        self._keys_changed(None)
        self._asked_at = self._sent_at = None
        self._wanted = _PROOF + secrets.token_hex(16)
        while not closed.is_set():
            answered_at = time.monotonic()
            if listener.session() != session:
                raise AnotherSession
            if self._wanted is None:
                self._proven_at = answered_at
            elif self._sent_at is not None and answered_at - self._sent_at > DEAF_AFTER:
                raise HeardNothing
            while (left := answered_at + BEAT - time.monotonic()) > 0:
                for payload in listener.payloads(left):
                    self._hear(payload, answered_at)
                closed.wait(min(left, _GATHERS))

    def _hear(self, payload: str, answered_at: float) -> None:
        if not payload.startswith(_PROOF):
            self._keys_changed(payload.split() or None)
        elif payload == self._wanted:  # other proofs are for other processes
            self._wanted, self._proven_at = None, answered_at
            if self._failures > 0:
                logger.info("listening for changes again")
                self._failures = 0
