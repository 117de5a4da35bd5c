"""Fetch an instance's JWKS when `core/key_refresh.py` says so.

A fetch runs in its own thread, one at a time per source. All callers wait for the same future: threads block on it, and
tasks await it. So sync and async callers share one fetch, and no caller waits longer than the deadline. While the old
keys are still good, a refresh runs in the background and no caller waits.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._runtime.flights import Flight
from .._runtime.forks import SurvivesForks
from ..core.instance import Instance
from ..core.key_refresh import FetchedKeys
from ..core.keys import KeySet, VerifyingKey, import_jwks
from ..core.strict_json import read_object
from ..core.validation import LOOPBACK
from ..errors import KeysUnavailable

if TYPE_CHECKING:
    import httpx

MAX_BODY = 262_144  # bytes of a JWKS or a discovery document; Clerk's is under 1 KiB
DEADLINE = 5.0
PATIENCE = 1.0  # seconds that a token with an unknown key may wait: it may be forged, and must not block a thread

logger: logging.Logger = logging.getLogger("clerkmap.keys")


class RemoteKeys(SurvivesForks):
    """The keys that an instance publishes, fetched when needed, at most once per cool-down.

    Args:
        instance: The instance that publishes the keys.
        transport: An httpx transport for the fetches, for a proxy or a test.
        refresh_after: Seconds after which keys are fetched again, in the background.
        keep_for: Seconds that keys are still served after that, while the endpoint is down.
        cooldown: The least number of seconds between two fetches.
        deadline: The most seconds that a fetch may take.
        monotonic: The clock for all of these times.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        transport: "httpx.BaseTransport | None" = None,
        refresh_after: float = 300,
        keep_for: float = 86_400,
        cooldown: float = 10,
        deadline: float = DEADLINE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        import_module("jwt")  # now, so that the first request in each forked worker does not have to load it

        self._instance = instance
        self._transport = transport
        self._deadline = deadline
        self._monotonic = monotonic
        self._keys = FetchedKeys(refresh_after=refresh_after, keep_for=keep_for, cooldown=cooldown)
        self._lock = threading.Lock()
        self._flight: Flight[None] | None = None
        self.survive_forks()

    @property
    def generation(self) -> int:
        return self._keys.generation

    def peek(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey | None:
        now = self._monotonic()
        with self._lock:
            key = self._keys.find_or_fetch_first(kid, rejected, now)
            if key is not None and self._keys.is_refresh_due(now):
                self._start_fetch(now)
            return key

    def get(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        found = self._find_or_fetch(kid, rejected)
        if isinstance(found, VerifyingKey):
            return found
        flight, patience = found
        return self._after_fetch(kid, rejected) if flight.join(patience) else self._without_answer(rejected)

    async def aget(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        found = self._find_or_fetch(kid, rejected)
        if isinstance(found, VerifyingKey):
            return found
        flight, patience = found
        return self._after_fetch(kid, rejected) if await flight.ajoin(patience) else self._without_answer(rejected)

    def _find_or_fetch(
        self, kid: str | None, rejected: VerifyingKey | None
    ) -> VerifyingKey | tuple[Flight[None], float]:
        """Return the key, or the fetch that may find it and the seconds to wait for it."""
        now = self._monotonic()
        with self._lock:
            key = self._keys.find_or_fetch_first(kid, rejected, now)
            if key is None or self._keys.is_refresh_due(now):
                flight = self._flight or self._start_fetch(now)
                if key is None:
                    return flight, self._deadline if self._keys.is_empty else min(PATIENCE, self._deadline)
            return key

    def _without_answer(self, rejected: VerifyingKey | None) -> VerifyingKey:
        if rejected is None:
            raise KeysUnavailable
        return rejected

    def _after_fetch(self, kid: str | None, rejected: VerifyingKey | None) -> VerifyingKey:
        with self._lock:
            key = self._keys.find_or_fetch_first(kid, rejected, self._monotonic())
        if key is None:  # the next fetch is due already, but one per request is enough
            raise KeysUnavailable
        return key

    def _start_fetch(self, now: float) -> Flight[None]:
        self._keys.begin_fetch(now)
        flight = self._flight = Flight[None]()
        if not flight.start(lambda: self._fetch_in_thread(flight), "clerkmap-keys"):
            self._finish_fetch(flight, None)
        return flight

    def _fetch_in_thread(self, flight: Flight[None]) -> None:
        keys = None
        try:
            keys = import_jwks(fetch_jwks(self._instance, self._transport, self._deadline), self._instance.algorithms)
        except Exception as error:  # noqa: BLE001 - the waiting callers must wake up after any error
            logger.warning("fetching the keys of %s failed: %s", self._instance.name, type(error).__name__)
        else:
            if not keys:
                logger.warning("the keys of %s include no usable public signing key", self._instance.name)
        with self._lock:
            self._finish_fetch(flight, keys)

    def _finish_fetch(self, flight: Flight[None], keys: KeySet | None) -> None:
        if keys:
            self._keys.fetch_succeeded(keys, self._monotonic())
        else:
            self._keys.fetch_failed()
        self._flight = None
        flight.land(None)

    def after_fork_in_child(self) -> None:
        """Forget a running fetch and the lock in a child process: their threads exist in the parent process only."""
        self._lock = threading.Lock()
        if self._flight is not None:
            self._flight = None
            self._keys.forget_fetch()


def fetch_jwks(instance: Instance, transport: "httpx.BaseTransport | None", deadline: float) -> dict[str, Any]:
    """Fetch an instance's JWKS, through the discovery document if no URL is known. Raise any error."""
    import httpx  # not at the top: a process with local keys does not need it

    ends = time.monotonic() + deadline
    # trust_env=False: a proxy variable in the environment must not redirect the fetch of trusted keys.
    with (
        httpx.Client(transport=transport, timeout=deadline, follow_redirects=False, trust_env=False) as client,
        _ended_after(deadline, client.close),
    ):
        url = instance.jwks_url
        if url is None:
            discovery = _fetch_json(client, f"{instance.issuer.rstrip('/')}/.well-known/openid-configuration", ends)
            url = discovery.get("jwks_uri")
            if discovery.get("issuer") != instance.issuer or not isinstance(url, str):
                raise ValueError("the discovery document has another issuer")
            found = httpx.URL(url)
            local = instance.issuer.startswith("http:") and found.scheme == "http" and found.host in LOOPBACK
            if found.userinfo or not (found.scheme == "https" or local):
                raise ValueError("the discovery document leads to an insecure URL")
        return _fetch_json(client, url, ends)


@contextmanager
def _ended_after(seconds: float, end: Callable[[], None]) -> Generator[None, None, None]:
    """End a fetch after its deadline. The timeouts of httpx apply to each read, so slow headers would never end."""
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _fetch_json(client: "httpx.Client", url: str, ends: float) -> dict[str, Any]:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code != 200 or response.headers.get("content-encoding", "identity") != "identity":
            raise ValueError(f"the endpoint responded with {response.status_code}")
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_BODY or time.monotonic() > ends:
                raise ValueError("the body is too long or too slow")
    return read_object(bytes(body).strip())
