"""The digests of opaque tokens that were valid before this process began.

Requests about these tokens come before requests about unknown tokens. So after a restart, a flood of forged keys does
not keep valid keys out. One checkpoint of the repository holds the digests, and all processes share it. The digests
are keyed with the secret key, so they are useless to a reader of the database.
"""

import logging
import re
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Generator
from hashlib import blake2b
from typing import Any

from .._runtime.flights import Flight
from .._runtime.forks import SurvivesForks
from ..core.instance import Instance
from ..core.records import key_of
from ..errors import ClerkmapError

KEPT = 3_000  # digests of 16 characters in one checkpoint of at most 64 KiB
WRITE_EVERY = 10.0  # seconds between two exchanges if there is a change to write
READ_EVERY = 60.0  # seconds between two exchanges otherwise: other processes add tokens, too
ATTEMPTS = 3  # of one exchange: other processes may write at the same moment

_DIGEST = re.compile(r"[0-9A-Za-z_-]{16}")

logger: logging.Logger = logging.getLogger("clerkmap.opaque")

Step = Callable[[Any], Any]  # called with the repository


class KnownTokens(SurvivesForks):
    """Digests of tokens that were valid, synchronized with a checkpoint at intervals.

    Args:
        instance: The instance of the tokens. Its secret key is the key of the digests.
        monotonic: The clock that measures when an exchange is due.
    """

    def __init__(self, instance: Instance, monotonic: Callable[[], float]) -> None:
        self._key = blake2b(str(instance.secret_key).encode()).digest()
        self._checkpoint = f"opaque tokens {key_of(instance.name)}"
        self._monotonic = monotonic
        self._digests: dict[str, None] = {}  # the newest last
        # The checkpoint or another process may still hold a digest that was dropped here. The oldest of these digests
        # are forgotten: at worst, such a token is looked up at Clerk once more, and dropped again.
        self._dropped: dict[str, None] = {}
        self._news = self._told = self._telling = 0  # numbers of changes: made, in the checkpoint, being written
        self._exchanged_at: float | None = None
        self._exchange: Flight[None] | None = None
        self._lock = threading.Lock()
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        """Forget a running exchange in a child process: it ends in the parent."""
        self._lock = threading.Lock()
        self._exchange = None

    def __contains__(self, token: str) -> bool:
        return self._digest(token) in self._digests

    def __len__(self) -> int:
        return len(self._digests)

    def __repr__(self) -> str:
        return f"KnownTokens({len(self)})"

    def add(self, token: str) -> None:
        """Remember a valid token."""
        digest = self._digest(token)
        with self._lock:
            self._news += digest not in self._digests
            self._digests.pop(digest, None)
            self._digests[digest] = None
            self._dropped.pop(digest, None)
            _shorten(self._digests)

    def drop(self, token: str) -> None:
        """Forget a token that is not valid any more."""
        digest = self._digest(token)
        with self._lock:
            if digest in self._digests:
                del self._digests[digest]
                self._news += 1
                self._dropped[digest] = None
                _shorten(self._dropped)

    def due(self) -> tuple[Flight[None], bool] | None:
        """Return the exchange to wait for, and whether the caller has to make it; None if no exchange is due.

        All callers wait for the first exchange. Only the caller that makes a later exchange waits for it.
        """
        now = self._monotonic()
        with self._lock:
            is_first = self._exchanged_at is None
            if self._exchange is not None:
                return (self._exchange, False) if is_first else None
            every = WRITE_EVERY if self._news != self._told else READ_EVERY
            if self._exchanged_at is not None and now < self._exchanged_at + every:
                return None
            self._exchange = Flight()
            return self._exchange, True

    def exchange(self) -> Generator[Step, Any, None]:
        """Merge the digests of the checkpoint into this object, and write new digests to the checkpoint."""
        try:
            for _ in range(ATTEMPTS):
                text: str | None = yield lambda repository: repository.checkpoint(self._checkpoint)
                merged = self._merged(text)
                # Inside your transaction, the write would block other processes until your commit.
                if merged is None or (yield lambda repository: repository.in_transaction()):
                    return
                if (yield _swap(self._checkpoint, text, merged)):
                    self._told = self._telling
                    return
        finally:
            with self._lock:
                self._exchanged_at = self._monotonic()
                exchange, self._exchange = self._exchange, None
            if exchange is not None:
                exchange.land(None)

    def _merged(self, text: str | None) -> str | None:
        """Merge the digests of a checkpoint. Return its new text, or None if its text stays."""
        stored = _DIGEST.findall(text or "")[:KEPT]
        with self._lock:
            theirs = {digest: None for digest in stored if digest not in self._dropped}
            mine = self._digests
            self._digests = {digest: None for digest in theirs if digest not in mine} | mine
            _shorten(self._digests)
            self._telling = self._news
            if self._telling == self._told:
                return None
            return " ".join(self._digests)

    def _digest(self, token: str) -> str:
        told = token.encode("utf-8", "surrogatepass")
        return urlsafe_b64encode(blake2b(told, key=self._key, digest_size=12).digest()).decode()


def _shorten(digests: dict[str, None]) -> None:
    while len(digests) > KEPT:
        del digests[next(iter(digests))]


def failed(error: ClerkmapError) -> None:
    """Log that the repository failed in an exchange."""
    logger.warning("looking up the known opaque tokens failed: %s", type(error).__name__)


def _swap(name: str, before: str | None, after: str) -> Step:
    return lambda repository: repository.swap_checkpoint(name, before, after)
