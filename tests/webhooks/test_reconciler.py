"""The reconciler at work: outcomes, both colours, what cannot work, what it counts, and what a resolver then sees."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from conftest import Listener

from clerkmap import (
    Change,
    ClerkmapError,
    Reconciler,
    RepositoryUnavailable,
    Resolver,
    WebhookError,
    threaded,
)
from clerkmap.core.records import AnyRecord
from clerkmap.errors import ConfigurationError, OrganizationDeleted, UserBanned
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk
from sample_bodies import (
    ANN,
    NAME,
    NOW,
    SECRET,
    body,
    event,
    instance,
    reconciler,
    sample,
    say,
    signed,
    user,
)


class Broken(MemoryRepository):
    """A repository whose database is away."""

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        raise RepositoryUnavailable


class World:
    """One Clerk with a person in an organization, a repository, a reconciler and a resolver. Nothing is delivered."""

    def __init__(self) -> None:
        self.clerk = FakeClerk(seed=1, clock=Clock(NOW))
        self.ann = self.clerk.create_user("ann@example.com", first_name="Ann")
        self.acme = self.clerk.create_organization("Acme", created_by=self.ann)
        self.repository = MemoryRepository()
        self.reconciler = Reconciler(self.clerk.instance, self.repository, clock=self.clerk.clock)
        self.resolver = Resolver(self.clerk.instance, self.repository, verifier=self.clerk.verifier())

    def token(self, **said: Any) -> str:
        return self.clerk.token(self.ann, self.acme, **said)

    def receive(self) -> list[str]:
        """Take in what is due, and tell the outcomes."""
        return [self.reconciler.receive(each.headers, each.body).kind for each in self.clerk.deliveries()]


def test_a_ban_is_seen_on_the_very_next_request() -> None:
    """A resolver that remembers a caller forgets them with the delivery, and lets them in after the unban (3.9)."""
    world = World()
    world.receive()
    token = world.token()
    principal = world.resolver.resolve(token)
    assert world.resolver.resolve_nowait(token) is principal

    world.clerk.ban(world.ann)
    assert world.receive() == ["applied"]
    with pytest.raises(UserBanned):
        world.resolver.resolve(token)
    world.clerk.unban(world.ann)
    assert world.receive() == ["applied"]
    assert world.resolver.resolve(token).user.id == principal.user.id


def test_a_webhook_fills_in_what_a_token_could_not_tell() -> None:
    """The ids that a token made stay; names come with the webhook, and no later token takes them back (3.6, 3.22)."""
    world = World()
    world.clerk.clock.advance(100)  # so that the webhooks are about what was before the token
    first = world.resolver.resolve(world.token())
    assert first.organization is not None
    assert (first.user.name, first.organization.name, first.organization.slug) == (None, None, "acme")

    with world.clerk.silence():
        world.clerk.update_organization(world.acme, name="Acme Ltd", slug="acme-ltd")
    membership = world.clerk.add_member(world.acme, world.ann, role="org:billing")
    assert world.receive() == ["applied"] * 4
    world.clerk.clock.advance(100)
    old = {"id": world.acme.id, "slg": "acme", "rol": "admin"}
    later = world.resolver.resolve(world.token(claims={"o": old}))

    assert later.organization is not None
    assert later.membership is not None
    assert (later.user.id, later.organization.id) == (first.user.id, first.organization.id)
    assert (later.user.name, later.user.email) == ("Ann", "ann@example.com")
    assert (later.organization.name, later.organization.slug) == ("Acme Ltd", "acme-ltd")
    assert (later.membership.role, later.membership.clerk_id) == ("org:billing", membership.id)


def test_a_deleted_organization_takes_nobody_in() -> None:
    """With the organization its memberships end; one that is told of afterwards does not count (3.4)."""
    world = World()
    (membership,) = (world.clerk.shape(each) for each in world.clerk.members_of(world.acme))
    world.clerk.delete_organization(world.acme)
    assert world.receive() == ["applied"] * 4
    say(world.clerk, "organizationMembership.created", membership | {"id": "orgmem_2"})
    say(world.clerk, "organizationMembership.deleted", membership)
    assert world.receive() == ["nothing_new"] * 2

    with pytest.raises(OrganizationDeleted):
        world.resolver.resolve(world.token())


def test_a_failing_repository_is_told_and_not_counted() -> None:
    """What was not committed is not acknowledged: the error goes out, and the delivery comes again (3.24)."""
    given, mine = sample("user.created"), reconciler(Broken())
    with pytest.raises(RepositoryUnavailable):
        mine.receive(given.headers, given.body)
    with pytest.raises(RepositoryUnavailable):
        asyncio.run(mine.areceive(given.headers, given.body))
    assert (mine.counts()["events"], mine.counts()["refusals"]) == ([], {})


def test_both_colours_agree() -> None:
    """`areceive` and `aapply` do what `receive` and `apply` do, on either kind of repository."""
    given, whose, clock = sample("organizationMembership.created"), instance(), Clock(NOW)
    for lent in (True, False):
        repository = MemoryRepository()
        mine = Reconciler(whose, threaded(repository) if lent else repository, clock=clock)

        outcome = asyncio.run(mine.areceive(given.headers, given.body))
        again = list(asyncio.run(mine.aapply(given.event)).changes)
        (change,) = asyncio.run(mine.aapply(event("user.updated", user()))).changes

        assert (outcome.kind, len(outcome.changes), again, change.made) == ("applied", 3, [], True)
        assert repository.find(NAME, ANN) is not None


@pytest.mark.parametrize("name", ["user.created", "edge/user.future_event_type"])
def test_an_asynchronous_repository_must_be_awaited(name: str) -> None:
    """The synchronous calls say which ones to use, whatever the event is about."""
    given = sample(name)
    mine = Reconciler(instance(), threaded(MemoryRepository()), clock=Clock(NOW))

    with pytest.raises(ConfigurationError, match="areceive"):
        mine.receive(given.headers, given.body)
    with pytest.raises(ConfigurationError, match="aapply"):
        mine.apply(given.event)
    assert mine.counts()["events"] == []


def test_without_a_secret_nothing_is_received() -> None:
    """Whoever gave no secret hears of it with the first delivery; what is beyond doubt is applied all the same."""
    given, mine = sample("user.created"), reconciler(webhook_secrets=[])

    with pytest.raises(ConfigurationError, match="webhook_secrets"):
        mine.receive(given.headers, given.body)
    assert len(mine.apply(given.event).changes) == 1


def test_swapped_arguments_are_named() -> None:
    """A reconciler and a resolver name their first arguments where these are swapped or of another type."""
    repository: Any = MemoryRepository()
    given: Any = instance()
    for make in (Reconciler, Resolver):
        with pytest.raises(ConfigurationError, match=r"takes an instance, then a repository; got MemoryRepository and"):
            make(repository, given)


@pytest.mark.parametrize(
    "options",
    [{"tolerance": value} for value in (0, -1, 3600.1, float("nan"), float("inf"), "300", None, True)]
    + [{"max_body": value} for value in (0, 1023, -1, 2048.0, "2048", None, True)],
)
def test_settings_that_cannot_work(options: dict[str, Any]) -> None:
    """A bound that is none is refused where it is given, with the name of the setting."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Reconciler(instance(), MemoryRepository(), **options)


@pytest.mark.parametrize(
    ("tolerance", "off", "good"), [(300, 300, True), (300, 301, False), (600, 301, True), (1, 2, False)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_tolerance_can_be_chosen(tolerance: float, off: int, good: bool, sign: int) -> None:
    """A delivery may be as old, or as far ahead, as you say; the refusal tells how far off it was (3.23)."""
    given = sample("user.created")
    mine = Reconciler(instance(), MemoryRepository(), tolerance=tolerance, clock=Clock(NOW + sign * off))

    if good:
        assert mine.receive(given.headers, given.body).kind == "applied"
    else:
        with pytest.raises(WebhookError, match=f"{off} seconds {'old' if sign > 0 else 'ahead'}"):
            mine.receive(given.headers, given.body)


@pytest.mark.parametrize(
    ("known", "told", "refused"),
    [("ins_1", "ins_1", False), ("ins_1", "ins_2", True), ("ins_1", None, False), (None, "ins_2", False)],
)
def test_another_instance_is_refused(known: str | None, told: str | None, refused: bool) -> None:
    """Where the instance's id is known, an event that names another one is refused (3.16, 3.19)."""
    content, mine = body("user.created", user(), instance_id=told), reconciler(instance_id=known)

    if refused:
        with pytest.raises(WebhookError) as raised:
            mine.receive(signed(content), content)
        assert raised.value.code == "webhook_from_elsewhere"
    else:
        assert mine.receive(signed(content), content).kind == "applied"


def test_counts(listener: Listener) -> None:
    """Events by type and outcome, refusals by code, and the lag of the last event, never below nothing."""
    mine = reconciler()
    assert mine.counts() == {"events": [], "refusals": {}, "lag_seconds": None}

    for name in ("user.created", "user.created", "other/sms.created", "other/email.created", "user.deleted.minimal"):
        mine.receive(sample(name).headers, sample(name).body)
    assert mine.counts()["lag_seconds"] == 0
    mine.receive(sample("user.created").headers, sample("user.created").body)
    for headers in ({}, signed(b"x"), signed(b"x"), signed(b"y", at=NOW - 301)):
        with pytest.raises(ClerkmapError):
            mine.receive(headers, b"y")

    assert mine.counts() == {
        "events": [
            {"type": "user.created", "outcome": "applied", "count": 1},
            {"type": "user.created", "outcome": "nothing_new", "count": 2},
            {"type": "other", "outcome": "ignored", "count": 2},
            {"type": "user.deleted", "outcome": "applied", "count": 1},
        ],
        "refusals": {"webhook_headers_refused": 1, "webhook_signature_invalid": 2, "webhook_out_of_time": 1},
        "lag_seconds": pytest.approx(NOW - 1_787_217_300.036),
    }
    assert len(listener.lines) == 4


def test_svix_waits_for_the_first_delivery() -> None:
    """To import clerkmap, and to make a reconciler, does not load what only a delivery needs."""
    program = f"""
import sys, clerkmap
from clerkmap.repositories import MemoryRepository
instance = clerkmap.Instance(issuer="https://{NAME}", webhook_secrets=["{SECRET}"])
reconciler = clerkmap.Reconciler(instance, MemoryRepository(), clock=lambda: {NOW})
before = "svix" in sys.modules
reconciler.receive({sample("user.created").headers!r}, {sample("user.created").body!r})
print(before, "svix" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert ran.stdout.split() == ["False", "True"]
