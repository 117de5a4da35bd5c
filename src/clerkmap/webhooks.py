"""Apply webhook deliveries to a repository.

`receive` takes a delivery from the network; `apply` takes an event from a trusted source. Both put the records, as
tokens do. So deliveries may come in any order: a delivery that comes twice, late or early ends in the same state.
Nothing waits for another delivery, and no list of past deliveries is kept.
"""

import hmac
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from ._runtime.forks import SurvivesForks
from .core.deliveries import MAX_BODY, TOLERANCE, UnverifiedDelivery, read_delivery
from .core.events import Event, Unreadable, parse_event
from .core.http import Headers
from .core.instance import Instance
from .core.model import Change
from .core.records import AnyRecord
from .errors import ConfigurationError, WebhookError, WebhookFromElsewhere, WebhookSignatureInvalid
from .hooks import AfterCommit, Hook
from .ports import AsyncCoreRepository, CoreRepository, is_async
from .repositories.threaded import threaded

if TYPE_CHECKING:
    from svix.webhooks import Webhook

logger: logging.Logger = logging.getLogger("clerkmap.webhooks")

Kind = Literal["applied", "nothing_new", "ignored"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a delivery. Answer with a 2xx status: the delivery is committed, or has nothing to commit.

    `applied`: it changed something. `nothing_new`: its records, or newer ones, were stored already. `ignored`: its type
    is not mirrored, or it lacks a necessary field; `reason` says which.
    """

    kind: Kind
    type: str
    changes: tuple[Change, ...] = ()
    reason: str | None = None


class Reconciler(SurvivesForks):
    """Applies the webhooks of one instance to a repository.

    Args:
        instance: The instance. Deliveries must be signed with one of its `webhook_secrets`.
        repository: The repository for the records. An async repository works only with `areceive` and `aapply`.
        hooks: Your functions to call inside each transaction, with each change and the transaction. They become hooks
            of the repository, so changes from tokens call them too.
        after_commit: Your functions to call with each change after its commit, at most once.
        tolerance: The largest difference between the time of a delivery and the clock, in seconds.
        max_body: The largest size of a delivery, in bytes.
        clock: Returns the time, in seconds since 1970.
    """

    def __init__(
        self,
        instance: Instance,
        repository: CoreRepository | AsyncCoreRepository,
        *,
        hooks: Iterable[Hook] = (),
        after_commit: Iterable[AfterCommit] = (),
        tolerance: float = TOLERANCE,
        max_body: int = MAX_BODY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if type(tolerance) not in (int, float) or not 0 < tolerance <= 3600:
            raise ConfigurationError("tolerance must be more than 0 and at most 3600 seconds")
        if type(max_body) is not int or max_body < 1024:
            raise ConfigurationError("max_body must be an integer of at least 1024 bytes")
        repository.listeners.add(hooks, after_commit)
        self._instance = instance
        self._repository = None if is_async(repository) else cast(CoreRepository, repository)
        self._async_repository = (
            cast(AsyncCoreRepository, repository) if self._repository is None else threaded(self._repository)
        )
        self._tolerance = tolerance
        self.max_body: int = max_body
        self._clock = clock
        self._signers: list[Webhook] = []
        self._lock = threading.Lock()
        self._events: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[str] = Counter()
        self._lag: float | None = None
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()

    def receive(self, headers: Headers, body: bytes) -> Outcome:
        """Apply a delivery: its headers, and its body with every byte as received.

        Raises:
            WebhookError: The delivery is not from Clerk, or cannot be read. Answer 400, or 413 for `WebhookTooLarge`.
            Exception: Any other error is on your side. Answer 500 or 503, and Clerk retries the delivery.
        """
        repository = self._synchronous()
        return self._put(repository, self._read_verified_event(headers, body))

    async def areceive(self, headers: Headers, body: bytes) -> Outcome:
        """Do the same without blocking the event loop."""
        return await self._aput(self._read_verified_event(headers, body))

    def apply(self, event: Event) -> list[Change]:
        """Apply an event from a trusted source: a replay, your queue, a test."""
        return list(self._put(self._synchronous(), self._dated(event)).changes)

    async def aapply(self, event: Event) -> list[Change]:
        """Do the same without blocking the event loop."""
        return list((await self._aput(self._dated(event))).changes)

    def counts(self) -> dict[str, Any]:
        """Return the counts since the start, for a metrics library.

        Events by type and outcome, refusals by code, and the seconds between the last event and its arrival.
        """
        with self._lock:
            events = [{"type": type_, "outcome": kind, "count": count} for (type_, kind), count in self._events.items()]
            return {"events": events, "refusals": dict(self._refusals), "lag_seconds": self._lag}

    def _read_verified_event(self, headers: Headers, body: bytes) -> Event:
        if not self._instance.webhook_secrets:
            raise ConfigurationError("the instance has no webhook_secrets: pass the endpoint's signing secret")
        try:
            now = self._clock()
            delivery = read_delivery(headers, body, now, tolerance=self._tolerance, max_body=self.max_body)
            self._check_signature(delivery)
            event = parse_event(delivery.body).not_after(delivery.timestamp * 1000)
            if self._instance.is_another(event.instance_id):
                raise WebhookFromElsewhere
        except WebhookError as refused:
            with self._lock:
                self._refusals[refused.code] += 1
            logger.warning("a webhook was refused: %s", refused)
            raise
        with self._lock:
            self._lag = max(0.0, now - event.timestamp / 1000)
        return event

    def _dated(self, event: Event) -> Event:
        return event.not_after(int(self._clock() * 1000))

    def _check_signature(self, delivery: UnverifiedDelivery) -> None:
        at = datetime.fromtimestamp(delivery.timestamp, UTC)
        signers = self._all_signers() if delivery.signatures else []
        # Sign once for each secret, not for each signature that the sender gives: the body may be large.
        expected = [signer.sign(delivery.id, at, delivery.body) for signer in signers]
        if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in delivery.signatures):
            raise WebhookSignatureInvalid

    def _all_signers(self) -> "list[Webhook]":
        if not self._signers:
            from svix.webhooks import Webhook  # imported here: it takes longer to load than all of clerkmap

            self._signers = [Webhook(secret) for secret in self._instance.webhook_secrets]
        return self._signers

    def _put(self, repository: CoreRepository, event: Event) -> Outcome:
        records, reason = self._records(event)
        return self._outcome(event, repository.put(records) if records else [], reason)

    async def _aput(self, event: Event) -> Outcome:
        records, reason = self._records(event)
        return self._outcome(event, await self._async_repository.put(records) if records else [], reason)

    def _records(self, event: Event) -> tuple[list[AnyRecord], str | None]:
        """Return the records of an event, or no records and the reason."""
        try:
            records = event.records(self._instance.name)
        except Unreadable as unreadable:
            # Not refused: Clerk would retry for a day, and no retry can be read either.
            logger.error("a webhook of type %s cannot be read: %s", event.type, unreadable)
            return [], str(unreadable)
        if records:
            return records, None
        return (
            [],
            "the event names no user or organization" if event.is_mirrored else "events of this type are not stored",
        )

    def _outcome(self, event: Event, changes: list[Change], reason: str | None) -> Outcome:
        kind: Kind = "ignored" if reason is not None else "applied" if changes else "nothing_new"
        with self._lock:
            self._events[event.type if event.is_mirrored else "other", kind] += 1
        return Outcome(kind, event.type, tuple(changes), reason)

    def _synchronous(self) -> CoreRepository:
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await areceive or aapply")
        return self._repository
