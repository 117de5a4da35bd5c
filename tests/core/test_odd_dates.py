"""Clerk's dates may go backwards, stand still or lie in the future: the repository still becomes what Clerk says."""

import asyncio
import io
import json
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backfill_world import everything_said, everything_stored, plenty
from clerkmap import Reconciler, Repository, Resolver, threaded
from clerkmap.clerk import AsyncClerkApi, ClerkApi
from clerkmap.core.events import parse_event
from clerkmap.core.merging import current_membership, winning_records
from clerkmap.core.records import ClerkMembership, ClerkUser, key_of
from clerkmap.core.times import to_datetime
from clerkmap.core.writeback import WriteBack
from clerkmap.errors import MembershipDeleted, UserBanned
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.sync import abackfill, backfill, diff, drain, repair
from clerkmap.sync.import_file import backfill_file
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.fake.store import Store

START = 1_790_000_000  # seconds
SECOND, DAY, DECADE = 1_000, 86_400_000, 315_360_000_000
# How far from the truth Clerk's `updated_at` is, in milliseconds. None is the date that the object had before.
SHIFTS = [0, -1, -SECOND, -DAY, SECOND, 4 * 60 * SECOND, DAY, DECADE, None]


class OddStore(Store):
    """The rows of a Clerk whose dates are wrong by `shift`."""

    shift: int | None = 0

    def __init__(self, seed: int, clock: Clock, ids: str = "") -> None:
        super().__init__(seed, clock, ids)
        self.dates: dict[str, int] = {}

    def say(self, type: str, data: dict[str, Any]) -> None:
        """Send an event about a change, with another date."""
        tables: tuple[dict[str, Any], ...] = (self.users, self.organizations, self.memberships)
        it = next((table[data["id"]] for table in tables if data["id"] in table), None)
        if it is not None:
            date = it.updated_at + self.shift if self.shift is not None else self.dates.get(it.id, it.updated_at)
            it.updated_at = self.dates[it.id] = date
            data = data | {"updated_at": date}
            if type == "organizationMembership.created":
                it.created_at = date
                data |= {"created_at": date}
        super().say(type, data)


class OddClerk(FakeClerk):
    """A Clerk whose dates are wrong, in its API as in its webhooks: by `shift`."""

    _store_type = OddStore

    def __init__(self, seed: int) -> None:
        super().__init__(seed, clock=Clock(START))

    @property
    def shift(self) -> int | None:
        """By how many milliseconds; None for the date of before."""
        return self._odd_store.shift

    @shift.setter
    def shift(self, shift: int | None) -> None:
        self._odd_store.shift = shift

    @property
    def _odd_store(self) -> OddStore:
        assert isinstance(self.store, OddStore)
        return self.store


class History:
    """A repository beside an odd Clerk."""

    def __init__(self, repository: Repository, seed: int = 0) -> None:
        self.clerk = OddClerk(seed)
        self.repository = repository
        self.reconciler = Reconciler(self.clerk.instance, repository, clock=self.clerk.clock)
        self.late: list[Any] = []
        with self.clerk.silence():
            self.people = [self.clerk.create_user(f"p{number}@example.com") for number in range(2)]
            self.company = self.clerk.create_organization("Acme", created_by=self.people[0])
        self.clerk.clock.advance(1)

    @property
    def api(self) -> ClerkApi:
        """The API of this Clerk."""
        return ClerkApi(self.clerk.instance, transport=self.clerk.transport(), budget=plenty(), sleep=lambda _: None)

    def change(self, what: str, who: int) -> None:
        """Let something happen to one of the people, or to the organization."""
        clerk, person, company = self.clerk, self.people[who], self.company
        if what in ("ban", "unban"):
            (clerk.ban if what == "ban" else clerk.unban)(person)
        elif what == "name":
            clerk.update_user(person, first_name=f"N{clerk.store.changes}")
        elif what == "rename":
            clerk.update_organization(company, name=f"Org {clerk.store.changes}")
        elif what == "leave":
            if clerk.membership(company, person) is not None:
                clerk.remove_member(company, person)
        else:
            clerk.add_member(company, person, role=what)

    def hear(self, how: str) -> None:
        """The webhooks of what happened: at once, after everything else, or never."""
        for delivery in self.clerk.deliveries():
            if how == "at once":
                self.reconciler.receive(delivery.headers, delivery.body)
            elif how == "late":
                self.late.append(parse_event(delivery.body))

    def hear_late(self) -> None:
        """What is late comes, the newest first."""
        for event in reversed(self.late):
            self.reconciler.apply(event)
        self.late.clear()

    def run(self, job: Callable[..., Any], **options: Any) -> Any:
        """Run a job on both."""
        return job(self.api, self.repository, clock=self.clerk.clock, **options)

    def check(self) -> None:
        """All that Clerk says is stored, everybody has the place that Clerk says, and nothing differs."""
        instance = self.clerk.instance.name
        assert everything_stored(self.repository, instance) == everything_said(self.clerk)
        for person in self.people:
            standing = self.repository.find(instance, person.id, self.company.id)
            assert standing is not None
            here, there = current_membership(standing.memberships), self.clerk.membership(self.company, person)
            assert (here and here.role) == (there and there.role)
        assert not self.run(diff)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ban", "unban", "name", "rename", "org:admin", "org:member", "leave", "backfill", "repair"]),
        st.integers(0, 1),
        st.sampled_from(SHIFTS),
        st.sampled_from(["at once", "late", "never"]),
    ),
    max_size=14,
)


@pytest.mark.slow
@pytest.mark.parametrize("job", [backfill, repair], ids=["backfill", "repair"])
@pytest.mark.parametrize("store", ["memory", "sqlite"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS, seconds=st.sampled_from([1, 400, 90_000]))
def test_whatever_the_dates_a_run_makes_the_repository_equal_to_clerk(
    store: str, job: Callable[..., Any], steps: list[tuple[str, int, int | None, str]], seconds: int
) -> None:
    """Roles, removals and returns included; webhooks come at once, late or never, and earlier runs between them."""
    repository = MemoryRepository() if store == "memory" else SqliteRepository.open(":memory:")
    history = History(repository)
    for what, who, shift, how in steps:
        history.clerk.shift = shift
        history.clerk.clock.advance(1)
        if what in ("backfill", "repair"):
            history.run(backfill if what == "backfill" else repair, most_departures=1)
        else:
            history.change(what, who)
            history.hear(how)
    history.hear_late()
    history.clerk.clock.advance(seconds)
    history.run(job, most_departures=1)
    history.check()
    repository.close()


@pytest.fixture
def history() -> History:
    """A repository that has everything, beside a Clerk whose dates will be wrong."""
    history = History(MemoryRepository())
    history.run(backfill)
    history.check()
    return history


def stored(history: History, kind: Any, clerk_id: str) -> Any:
    """The record of one thing."""
    return history.repository.record(kind, history.clerk.instance.name, key_of(clerk_id))


WRONG = {"by a day": -DAY, "by seconds": -2 * SECOND}


@pytest.mark.parametrize("shift", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("job", ["backfill", "newest", "repair", "async"])
def test_a_ban_with_a_wrong_date_is_found_and_written(history: History, job: str, shift: int) -> None:
    """Its webhook came and lost. The diffs report it as `behind`, each job writes it, and the person is refused."""
    history.clerk.shift = shift
    person = history.people[0]
    history.change("ban", 0)
    history.hear("at once")
    assert not stored(history, "user", person.id).banned
    for cheap in (False, True):
        drift = history.run(diff, cheap=cheap)
        assert [(each.how, each.clerk_id, each.fields) for each in drift.differences] == [
            ("behind", person.id, ("banned",))
        ]
    if job == "repair":
        report = history.run(repair)
        assert (report.found, report.changed["users"]) == ({"behind": 1}, 1)
    elif job == "async":
        arun_backfill(history)
    else:
        assert history.run(backfill, newest_only=job == "newest").changed["users"] == 1
    history.check()
    resolver = Resolver(history.clerk.instance, history.repository, verifier=history.clerk.verifier())
    history.clerk.unban(person)
    token = history.clerk.token(person)
    with pytest.raises(UserBanned):
        resolver.resolve(token)


def arun_backfill(history: History) -> None:
    """A backfill in async code."""

    async def run() -> None:
        clerk = history.clerk
        async with AsyncClerkApi(clerk.instance, transport=clerk.transport(), budget=plenty()) as api:
            await abackfill(api, threaded(history.repository), clock=clerk.clock)

    asyncio.run(run())


@pytest.mark.parametrize("job", [backfill, repair])
def test_a_role_and_a_name_with_wrong_dates(history: History, job: Any) -> None:
    """Of a membership and of an organization."""
    history.change("org:admin", 1)
    history.hear("at once")
    history.clerk.shift = -DAY
    history.change("org:member", 1)
    history.change("rename", 0)
    history.hear("at once")
    assert history.run(diff).counts == {"behind": 2}
    history.run(job)
    history.check()


def test_a_date_in_the_future_hides_nothing_that_comes_after_it(history: History) -> None:
    """Neither one that a webhook told, nor one that the API did: the next webhook counts at once."""
    history.clerk.shift = DECADE
    history.change("name", 0)
    history.hear("at once")
    history.run(backfill)
    history.clerk.shift = 0
    history.clerk.clock.advance(1)
    history.change("ban", 0)
    history.hear("at once")
    assert stored(history, "user", history.people[0].id).banned
    history.check()


def test_a_webhook_that_comes_while_a_row_is_asked_for_again_stays(history: History) -> None:
    """What a job writes is a record like any other, and loses to a greater one."""
    clerk, person = history.clerk, history.people[0]
    clerk.shift = -DAY
    history.change("name", 0)
    history.hear("at once")
    asked = list[str]()

    def meanwhile(request: Any) -> None:
        asked.append(request.path)
        if asked.count("/v1/users") == 2:  # the row has been asked for again, and is on its way
            clerk.shift = 0
            clerk.clock.advance(1)
            history.change("ban", 0)
            history.hear("at once")

    clerk.faults.between_pages = meanwhile
    history.run(backfill)
    assert asked.count("/v1/users") == 2
    assert stored(history, "user", person.id).banned


@pytest.mark.parametrize("removal", ["heard", "found"])
def test_who_returns_with_an_older_date_is_a_member(history: History, removal: str) -> None:
    """The removal of the first membership came as a webhook, or was found by the job."""
    history.change("org:member", 1)
    history.hear("at once")
    history.change("leave", 1)
    history.hear("at once" if removal == "heard" else "never")
    history.clerk.shift = -DAY
    history.clerk.clock.advance(1)
    history.change("org:admin", 1)
    history.hear("never")
    history.clerk.clock.advance(1)
    history.run(backfill, most_departures=1)
    history.check()
    resolver = Resolver(history.clerk.instance, history.repository, verifier=history.clerk.verifier())
    token = history.clerk.token(history.people[1], history.company)
    assert resolver.resolve(token).membership
    history.change("leave", 1)
    history.hear("at once")
    with pytest.raises(MembershipDeleted):
        resolver.resolve(token)


ENVELOPES = {
    # the event's timestamp, its updated_at, and the updated_at that is believed; in milliseconds
    "as it should be": (START * 1000 + 700, START * 1000 + 650, START * 1000 + 650),
    "whole seconds": (START, START * 1000 + 650, START * 1000 + 650),
    "in the future": (START * 1000 + 700, START * 1000 + DECADE, START * 1000 + 700),
    "in the future, of an event of the past": (START * 1000 - DAY, START * 1000, START * 1000 - DAY),
    "an envelope in the future": (START * 1000 + DECADE, START * 1000 + DECADE, START * 1000),
}


@pytest.mark.parametrize("way", ["received", "replayed", "file"])
@pytest.mark.parametrize(("timestamp", "updated_at", "believed"), ENVELOPES.values(), ids=ENVELOPES)
def test_an_event_is_believed_up_to_its_own_time(
    history: History, timestamp: int, updated_at: int, believed: int, way: str
) -> None:
    """And its own time up to that of its signature; without one, up to now."""
    history.clerk.clock.advance(START - history.clerk.clock())
    person = history.clerk.create_user("new@example.com")
    (delivery,) = history.clerk.deliveries()
    said = json.loads(delivery.body)
    said |= {"timestamp": timestamp, "data": said["data"] | {"updated_at": updated_at}}
    body = json.dumps(said).encode()
    if way == "received":
        history.clerk.wire.say("msg_1", "user.created", body)
        (delivery,) = history.clerk.deliveries()
        history.reconciler.receive(delivery.headers, delivery.body)
    elif way == "replayed":
        history.reconciler.apply(parse_event(body))
    else:
        backfill_file(io.BytesIO(body), history.repository, instance=history.clerk.instance, clock=history.clerk.clock)
    record = stored(history, "user", person.id)
    assert record.updated_at == believed
    assert record.observed_at <= history.clerk.clock() * 1000 + 999


ANSWERS = {"a little ahead": (299_000, 299_000), "far ahead": (301_000, 0), "behind": (-DAY, -DAY)}


@pytest.mark.parametrize("way", ["backfill", "file", "file without a date"])
@pytest.mark.parametrize(("ahead", "believed"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_believed_up_to_five_minutes_after_the_request(
    history: History, ahead: int, believed: int, way: str
) -> None:
    """Clocks may differ by that. Of a file it is the moment it speaks of, and else the time of reading it."""
    clock, now = history.clerk.clock, int(history.clerk.clock() * 1000)
    with history.clerk.silence():
        person = history.clerk.create_user("new@example.com")
    person.updated_at = now + ahead
    if way == "backfill":
        history.run(backfill)
    else:
        row = json.dumps(history.clerk.shape(person)).encode()
        moment = None if way == "file without a date" else to_datetime(now)
        instance = history.clerk.instance
        backfill_file(io.BytesIO(row), history.repository, instance=instance, observed_at=moment, clock=clock)
    expected = now + 300_000 if way == "file without a date" and ahead > 300_000 else now + believed
    assert stored(history, "user", person.id).updated_at == expected


def test_a_file_never_overtakes_what_is_stored(history: History) -> None:
    """The date of a file says when it was copied, and not when Clerk said what is in it."""
    person = history.people[0]
    row = json.dumps(history.clerk.shape(person)).encode()
    history.clerk.clock.advance(1)
    history.change("ban", 0)
    history.hear("at once")
    history.clerk.clock.advance(3_600)
    options: Any = {"instance": history.clerk.instance, "clock": history.clerk.clock}
    backfill_file(
        io.BytesIO(row), history.repository, observed_at=to_datetime(int(history.clerk.clock() * 1000)), **options
    )
    assert stored(history, "user", person.id).banned


def test_what_is_written_back_is_seen_although_its_date_is_wrong() -> None:
    """Clerk takes your id, and its answer has a date of the day before."""
    history = History(MemoryRepository(write_back=WriteBack(user_id="userId"), clock=lambda: START))
    history.run(backfill)
    history.clerk.shift = -DAY
    history.clerk.clock.advance(5)
    sent = history.run(drain)
    assert (sent.written, sent.failed) == (2, 0)
    assert '"userId"' in stored(history, "user", history.people[0].id).public_metadata


def test_a_record_above_another_is_one_of_the_order() -> None:
    """It outranks that one and nothing greater, whatever the order in which they are put."""

    def said(name: str, updated_at: int, observed_at: int) -> ClerkUser:
        return ClerkUser.full("i", "user_1", first_name=name, updated_at=updated_at, observed_at=observed_at)

    before, answer, after = said("before", 50, 60), said("answer", 10, 70), said("after", 51, 61)
    above = answer.above(before.rank)
    assert before.rank < above.rank < after.rank
    assert (above.said(), above.updated_at, above.observed_at) == (answer.said(), 50, 70)
    assert said("late clock", 10, 20).above(before.rank).observed_at == 61
    assert after.above(before.rank) is after
    gone = ClerkUser.deleted("i", "user_1", observed_at=1)
    assert answer.above(gone.rank) is answer
    for order in permutations([before, answer, above, above]):
        assert winning_records(order) == [above]
    for order in permutations([before, above, after, above]):
        assert winning_records(order) == [after]
    for order in permutations([before, above, gone]):
        assert winning_records(order) == [gone]


def test_a_membership_counts_that_was_seen_after_a_removal() -> None:
    """Whatever its date; one that was last seen before it does not, unless its date is later."""
    ends: Any = {"clerk_user_id": "user_1", "clerk_organization_id": "org_1"}
    removed = ClerkMembership.deleted("i", "orgmem_1", **ends, created_at=500, observed_at=100)

    def joined(created_at: int, observed_at: int) -> ClerkMembership:
        dates: Any = {"created_at": created_at, "observed_at": observed_at}
        return ClerkMembership.full("i", "orgmem_2", **ends, role="org:admin", **dates)

    for created_at, observed_at, counts in ((400, 99, False), (400, 100, True), (500, 99, True), (600, 1, True)):
        record = joined(created_at, observed_at)
        assert current_membership([removed, record]) is (record if counts else None)
