"""Webhook deliveries to records.

`receive` takes a delivery from the network; `apply` takes an event from a trusted origin. Both put the records, as
tokens do, so deliveries need no order, no waiting and no memory: a delivery that comes twice, late or early ends in the
same state.
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
    """The outcome of a delivery. Answer it with a status of 2xx: it has been committed, or had nothing to commit.

    `applied`: it changed something. `nothing_new`: its records were stored already, or better ones. `ignored`: its type
    is not mirrored, or it lacks a necessary field; `reason` tells which.
    """

    kind: Kind
    type: str
    changes: tuple[Change, ...] = ()
    reason: str | None = None


class Reconciler(SurvivesForks):
    """Keeps a repository in step with the webhooks of one instance.

    Args:
        instance: The instance. Deliveries must be signed with one of its `webhook_secrets`.
        repository: The repository for the records. An asynchronous one can only be used with `areceive` and `aapply`.
        hooks: Your functions to be called inside each transaction, with each change and the transaction. They
            become hooks of the repository, so what tokens tell calls them too.
        after_commit: Your functions to be called with each change after its commit, at most once.
        tolerance: How many seconds old, or ahead, a delivery may be.
        max_body: How many bytes a delivery may have.
        clock: The time, in seconds since 1970.
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
            raise ConfigurationError("max_body must be an integer, and at least 1024 bytes")
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
        """Take in a delivery: its headers, and its body as it was received, to the byte.

        Raises `WebhookError` for what is not Clerk's or cannot be read: answer 400, or 413 for `WebhookTooLarge`. Any
        other error is ours: answer 500 or 503, and the delivery comes again.
        """
        repository = self._synchronous()
        return self._put(repository, self._read(headers, body))

    async def areceive(self, headers: Headers, body: bytes) -> Outcome:
        """Do the same without holding up the event loop."""
        return await self._aput(self._read(headers, body))

    def apply(self, event: Event) -> list[Change]:
        """Take in an event from a trusted origin: a replay, your queue, a test."""
        return list(self._put(self._synchronous(), self._dated(event)).changes)

    async def aapply(self, event: Event) -> list[Change]:
        """Do the same without holding up the event loop."""
        return list((await self._aput(self._dated(event))).changes)

    def counts(self) -> dict[str, Any]:
        """What has come in since the start, for a metrics library: events by type and outcome, refusals by code, and
        the seconds between the last event and its arrival."""
        with self._lock:
            events = [{"type": type_, "outcome": kind, "count": count} for (type_, kind), count in self._events.items()]
            return {"events": events, "refusals": dict(self._refusals), "lag_seconds": self._lag}

    def _read(self, headers: Headers, body: bytes) -> Event:
        if not self._instance.webhook_secrets:
            raise ConfigurationError("the instance has no webhook_secrets: give it the endpoint's signing secret")
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
        # One signature a secret, however many candidates a stranger sends: the body may be large.
        expected = [signer.sign(delivery.id, at, delivery.body) for signer in signers]
        if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in delivery.signatures):
            raise WebhookSignatureInvalid

    def _all_signers(self) -> "list[Webhook]":
        if not self._signers:
            from svix.webhooks import Webhook  # here, not above: it takes longer to load than all of clerkmap

            self._signers = [Webhook(secret) for secret in self._instance.webhook_secrets]
        return self._signers

    def _put(self, repository: CoreRepository, event: Event) -> Outcome:
        records, reason = self._records(event)
        return self._outcome(event, repository.put(records) if records else [], reason)

    async def _aput(self, event: Event) -> Outcome:
        records, reason = self._records(event)
        return self._outcome(event, await self._async_repository.put(records) if records else [], reason)

    def _records(self, event: Event) -> tuple[list[AnyRecord], str | None]:
        """Return the records of an event; or none, and the reason why there are none."""
        try:
            records = event.records(self._instance.name)
        except Unreadable as unreadable:
            # Sent again it would be no better, so it is not refused: it would come again for a day.
            logger.error("a webhook of type %s cannot be read: %s", event.type, unreadable)
            return [], str(unreadable)
        if records:
            return records, None
        return [], "it names nobody" if event.is_mirrored else "events of this type are not kept"

    def _outcome(self, event: Event, changes: list[Change], reason: str | None) -> Outcome:
        kind: Kind = "ignored" if reason is not None else "applied" if changes else "nothing_new"
        with self._lock:
            self._events[event.type if event.is_mirrored else "other", kind] += 1
        return Outcome(kind, event.type, tuple(changes), reason)

    def _synchronous(self) -> CoreRepository:
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await areceive or aapply")
        return self._repository
