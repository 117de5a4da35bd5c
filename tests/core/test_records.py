"""The record that wins is a maximum in a total order, and obeys the laws of one. The spelling of the rank is fixed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clerkmap.core.events import parse_event
from clerkmap.core.merging import current_membership, deletion_time, outranks, winning_records
from clerkmap.core.records import (
    FROM_TOKEN,
    FULL,
    MAX_TIME,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkSession,
    ClerkUser,
    key_of,
)
from clerkmap.errors import ConfigurationError
from clerkmap.testing.machine import records
from clerkmap.testing.samples import left, member, person

histories = st.lists(records(), max_size=8)


def test_the_rank_on_the_wire() -> None:
    """One rank, to the letter: a database that was written by an older version must sort the same."""
    record = ClerkUser.make(
        FULL, "here", "user_a", updated_at=1718887200000, observed_at=1718887201234, first_name="Zoë"
    )

    assert record.rank == "2.001718887200000.001718887201234.f80c36bfee83060791c411bc49e4fbb2"
    assert record.key == "e3f22b4d0e366e8f5692b61d79eb605c"


@given(histories)
def test_winning_again_changes_nothing(history: list[AnyRecord]) -> None:
    """Idempotent: the records that won win again, alone and repeated."""
    once = winning_records(history)

    assert winning_records(once) == once
    assert winning_records([*history, *history]) == once


@given(st.permutations(range(8)), histories)
def test_order_changes_nothing(order: list[int], history: list[AnyRecord]) -> None:
    """Commutative: in any order, the same records win."""
    shuffled = [history[position] for position in order if position < len(history)]

    assert winning_records(shuffled) == winning_records(history)


@given(histories, histories, histories)
def test_grouping_changes_nothing(a: list[AnyRecord], b: list[AnyRecord], c: list[AnyRecord]) -> None:
    """Associative: the winners of parts have the winners of all among them."""
    whole = winning_records([*a, *b, *c])

    assert winning_records([*winning_records([*a, *b]), *c]) == whole
    assert winning_records([*a, *winning_records([*b, *c])]) == whole


@given(records(), records())
def test_the_order_is_total(one: AnyRecord, other: AnyRecord) -> None:
    """Of two records of one thing exactly one is newer, unless they say the same at the same time."""
    if (one.kind, one.instance, one.key) == (other.kind, other.instance, other.key):
        assert outranks(one, other) + outranks(other, one) == (one != other)


@settings(max_examples=30)
@given(st.lists(records(), min_size=5, max_size=5))
def test_every_order_of_a_small_history(history: list[AnyRecord]) -> None:
    """All 120 orders of five records, one after the other, end alike."""
    assert {tuple(winning_records(order)) for order in permutations(history)} == {tuple(winning_records(history))}


def test_ranks_sort_as_text() -> None:
    """Standing before time, time before observation: a greater text is a later word."""
    ranks = [
        person(at=9, grade=FROM_TOKEN).rank,
        person(at=1, grade="1").rank,
        person(at=2).rank,
        ClerkUser.make(FULL, "here", "user_ann", updated_at=2, observed_at=10**12).rank,
        ClerkUser.make(FULL, "here", "user_ann", updated_at=10, observed_at=0).rank,
        ClerkUser.deleted("here", "user_ann", observed_at=0).rank,
        ClerkUser.deleted("here", "user_ann", observed_at=MAX_TIME).rank,
    ]

    assert sorted(ranks) == ranks
    assert {len(rank) for rank in ranks} == {66}


@pytest.mark.parametrize("time", [-1, MAX_TIME + 1])
def test_times_have_bounds(time: int) -> None:
    """A time that would not fit its place in the rank is refused."""
    with pytest.raises(ValueError, match="milliseconds"):
        ClerkUser.make(FULL, "here", "user_a", observed_at=time)
    with pytest.raises(ValueError, match="milliseconds"):
        ClerkUser.make(FULL, "here", "user_a", observed_at=1, updated_at=time)


def test_a_tombstone_holds_nothing_personal() -> None:
    """Of a deleted person only the digest of the id is left, and the times."""
    tombstone = ClerkUser.deleted("here", "user_ann", observed_at=5)

    assert tombstone == ClerkUser("here", key_of("user_ann"), tombstone.rank, None)
    assert (tombstone.updated_at, tombstone.observed_at, tombstone.is_deleted) == (None, 5, True)
    assert left().user_key == key_of("user_ann")


def _sighted(at: int) -> ClerkMembership:
    return ClerkMembership.from_token(
        "here", clerk_user_id="user_ann", clerk_organization_id="org_acme", role="org:member", observed_at=at
    )


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ([], None),
        ([_sighted(1)], _sighted(1)),
        ([member()], member()),
        ([_sighted(9), member()], member()),
        ([left()], None),
        ([member("orgmem_1"), left("orgmem_2")], member("orgmem_1")),
        ([left("orgmem_1"), member("orgmem_2", at=1)], member("orgmem_2", at=1)),
        ([member("orgmem_1", at=1), member("orgmem_2", at=2)], member("orgmem_2", at=2)),
        ([left(at=5), _sighted(4)], None),
        ([left(at=5), _sighted(5)], None),
        ([left(at=5), _sighted(6)], _sighted(6)),
        ([left("orgmem_1", at=5), left("orgmem_2", at=7), _sighted(6)], None),
    ],
)
def test_which_membership_counts(said: list[ClerkMembership], counts: ClerkMembership | None) -> None:
    """The best known one that is alive; a sighting only if its token was made after the last removal."""
    for order in permutations(said):
        assert current_membership(order) == counts


def test_a_user_goes_with_the_last_identity() -> None:
    """Deleted when all are, at the time of the last."""
    first, second = (ClerkUser.deleted("here", "user_a", observed_at=at) for at in (3, 7))

    assert deletion_time([first, second]) == 7
    assert deletion_time([first, person()]) is None
    assert deletion_time([]) is None


def test_a_repr_says_nothing_personal() -> None:
    """Reprs end up in logs."""
    record = person(email="ann@example.com", first_name="Ann")

    assert repr(record) == f"ClerkUser(2, key={record.key[:8]}…)"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83d\ude00"])
def test_half_a_character_is_refused(text: str) -> None:
    """What no database can store is no record, and two spellings of one character cannot tie."""
    with pytest.raises(UnicodeEncodeError):
        person(first_name=text)


def test_a_time_of_another_type_is_refused() -> None:
    """A record has milliseconds: a datetime or a float is refused with the function that converts one."""
    wrong: Any
    for wrong in (datetime.now(UTC), 1.5e12, "1700000000000"):
        for name in ("updated_at", "observed_at"):
            times: dict[str, Any] = {"observed_at": 1, name: wrong}
            with pytest.raises(ConfigurationError, match="to_milliseconds"):
                ClerkUser.full("here", "user_1", **times)
    moment: Any = datetime.now(UTC)
    with pytest.raises(ConfigurationError, match="whole milliseconds"):
        ClerkUser.full("here", "user_1", observed_at=1, created_at=moment)


@pytest.mark.parametrize("seconds", [1_262_304_000, 1_700_000_000, 4_102_444_799])
def test_seconds_are_refused(seconds: int) -> None:
    """A time in seconds would lose to each other record. Milliseconds from before Clerk existed are no such mistake."""
    ends: dict[str, Any] = {"clerk_user_id": "user_1", "clerk_organization_id": "org_1"}
    calls: list[Callable[..., object]] = [
        partial(ClerkUser.full, "here", "user_1"),
        partial(ClerkUser.deleted, "here", "user_1"),
        partial(ClerkOrganization.full, "here", "org_1"),
        partial(ClerkOrganization.deleted, "here", "org_1"),
        partial(ClerkMembership.full, "here", "orgmem_1", role="org:admin", **ends),
        partial(ClerkMembership.deleted, "here", "orgmem_1", **ends),
        partial(ClerkSession.deleted, "here", "sess_1"),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match="observed_at must be milliseconds"):
            call(observed_at=seconds)
        call(observed_at=seconds * 1000)
        call(observed_at=1)
    for name in ("updated_at", "created_at"):
        times: dict[str, Any] = {"observed_at": 2**41, name: seconds}
        with pytest.raises(ConfigurationError, match=f"{name} must be milliseconds since 1970; got seconds"):
            ClerkUser.full("here", "user_1", **times)


def test_seconds_from_clerk_are_converted() -> None:
    """A delivery that has seconds where milliseconds belong is applied, because a refusal would not correct it."""
    seconds = 1_700_000_000
    times = {"created_at": seconds, "updated_at": seconds}
    data = {"id": "orgmem_1", "public_user_data": {"user_id": "user_1"}, "organization": {"id": "org_1"}, **times}
    for type in ("organizationMembership.updated", "organizationMembership.deleted"):
        event = parse_event(json.dumps({"type": type, "data": data, "timestamp": seconds}))
        assert {record.observed_at for record in event.records("here")} == {seconds * 1000}
