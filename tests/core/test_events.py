"""Every sample delivery, from its signature to its records; and the envelope: times, types, what is never kept."""

from typing import Any

import pytest
from conftest import Listener

from clerkmap import Event, WebhookError, parse_event
from clerkmap.core.records import ClerkUser
from sample_bodies import (
    ANN,
    MS,
    NAME,
    SAMPLES,
    body,
    event,
    membership,
    organization,
    reconciler,
    records,
    sample,
    user,
)

APPLIED = {
    "user.created": 1,
    "user.updated": 1,
    "user.updated.banned": 1,
    "user.updated.unbanned": 1,
    "user.updated.locked": 1,
    "user.updated.deprovisioned": 1,
    "user.deleted": 1,
    "user.deleted.minimal": 1,
    "organization.created": 1,
    "organization.updated": 1,
    "organization.deleted": 1,
    "organizationMembership.created": 3,
    "organizationMembership.created.member": 3,
    "organizationMembership.updated": 3,
    "organizationMembership.deleted": 3,
    "session.created": 1,
    "session.pending": 1,
    "session.ended": 2,
    "session.removed": 2,
    "session.revoked": 2,
    "edge/organization.deleted.no_slug": 1,
    "edge/organizationMembership.created.legacy_role": 3,
    "edge/organizationMembership.created.null_public_user_data": 1,
    "edge/organizationMembership.created.readded_new_id": 3,
    "edge/organizationMembership.updated.arrives_after_delete": 3,
    "edge/user.created.legacy_shape": 1,
    "edge/user.created.no_email": 1,
    "edge/user.created.primary_not_in_list": 1,
    "edge/user.created.seconds_timestamp": 1,
    "edge/user.created.unverified_primary": 1,
    "edge/user.updated.same_ms_different_content": 1,
}
NOT_KEPT = [
    "organizationInvitation.accepted",
    "organizationInvitation.created",
    "organizationInvitation.revoked",
    "edge/organizationInvitation.accepted.nested_data_shape",
    "edge/role.deleted.null_slug",
    "edge/user.future_event_type",
]
OUTCOMES = [(name, "applied", count) for name, count in APPLIED.items()] + [(name, "ignored", 0) for name in NOT_KEPT]
OUTCOMES += [(name.removesuffix(".json"), "ignored", 0) for name in sorted(SAMPLES) if name.startswith("other/")]


def test_the_table_names_every_sample() -> None:
    """No sample is left out of the table below."""
    assert sorted(f"{name}.json" for name, _, _ in OUTCOMES) == sorted(SAMPLES)


@pytest.mark.parametrize(("name", "kind", "count"), OUTCOMES)
def test_samples(name: str, kind: str, count: int) -> None:
    """Each sample passes its own signature, gives what it should, and the second time nothing new."""
    given, mine = sample(name), reconciler()

    outcome = mine.receive(given.headers, given.body)
    again = mine.receive(given.headers, given.body)

    # No membership ends that has never been there.
    changed = count - (name == "organizationMembership.deleted")
    assert (outcome.kind, outcome.type, len(outcome.changes)) == (kind, given.type, changed)
    assert (again.kind, again.changes) == ("nothing_new" if kind == "applied" else "ignored", ())
    assert outcome.reason == (None if kind == "applied" else "events of this type are not stored")
    assert len(given.event.records(NAME)) == count


PRIVATE = [
    "private_metadata",
    "unsafe_metadata",
    "crm_ref",
    "C-9981",
    "cus_example",
    "stripe",
    "landing-page",
    "onboard",
]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_what_is_private_stays_out(name: str) -> None:
    """No record holds private or unsafe metadata, a one-time code, a ticket, or an address of the network."""
    given = SAMPLES[name].said
    text = " ".join(str(record.said()) for record in SAMPLES[name].event.records(NAME))
    code = given["data"].get("data", {}).get("otp_code") if isinstance(given["data"].get("data"), dict) else None

    secrets = [*PRIVATE, "203.0.113.", "__clerk_ticket", *([code] if code else [])]
    assert [secret for secret in secrets if secret in text] == []


def test_private_fields_change_nothing() -> None:
    """Two events that differ only in what is not kept are one and the same record."""
    plain = records("user.updated", user())
    told = user(
        private_metadata={"a": 1}, unsafe_metadata={"b": 2}, phone_numbers=[{"phone_number": "1"}], new={"x": []}
    )
    inside = membership(private_metadata={"a": 1}, organization=organization(private_metadata={"a": 1}, created_by=ANN))

    assert records("user.updated", told) == plain
    assert records("organizationMembership.updated", inside) == records("organizationMembership.updated", membership())


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (MS, MS),
        (1_787_217_300, 1_787_217_300_000),
        (1, 1),
        (1_262_304, 1_262_304),  # a thousand times that would be the seconds that a record refuses
        (99_999_999, 99_999_999),
        (100_000_000, 100_000_000_000),
        (99_999_999_999, 99_999_999_999_000),
        (100_000_000_000, 100_000_000_000),
        (253_402_300_799_999, 253_402_300_799_999),
    ],
)
def test_seconds_and_milliseconds(timestamp: int, expected: int) -> None:
    """A time from 10^8 to 10^11 is one in seconds, in the envelope and in the object alike."""
    (record,) = records("user.updated", user(at=timestamp, created_at=timestamp), timestamp=timestamp)

    assert isinstance(record, ClerkUser)
    assert (record.observed_at, record.updated_at, record.created_at) == (expected, expected, expected)


def test_the_same_event_in_both_units_is_one() -> None:
    """The unit of the envelope's time changes no word of what was said."""
    (seconds,) = sample("edge/user.created.seconds_timestamp").event.records(NAME)
    (milliseconds,) = sample("user.created").event.records(NAME)

    assert seconds.said() == milliseconds.said()
    assert (seconds.observed_at, milliseconds.observed_at) == (1_787_217_300_000, 1_787_217_300_036)


NO_TIMES: list[Any] = [None, 0, -1, True, "1787217300036", 1787217300036.0, 253_402_300_800_000, 10**30, [], {}]


@pytest.mark.parametrize("timestamp", NO_TIMES)
def test_an_event_without_a_time_is_refused(timestamp: Any) -> None:
    """An event whose time is none cannot be put in order: it is malformed."""
    with pytest.raises(WebhookError, match="timestamp must be a number") as raised:
        event("user.updated", user(), timestamp=timestamp)

    assert raised.value.code == "webhook_malformed"


@pytest.mark.parametrize("time", NO_TIMES)
def test_an_object_without_a_time_is_read(time: Any) -> None:
    """Where only the object's own times are wrong, the envelope's orders it."""
    (record,) = records("user.updated", user(at=time, created_at=time))

    assert isinstance(record, ClerkUser)
    assert (record.observed_at, record.updated_at, record.created_at) == (MS, None, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"event"',
        b"{}{}",
        b'{"type": "user.created", "type": "user.deleted"}',
        b"\xff",
        b'{"type": "user.created", "timestamp": NaN, "data": {}}',
        body("user.created", None),
        body("user.created", []),
        body("", {}),
        body("user created", {}),
        body("user\n.created", {}),
        body("a" * 101, {}),
        body("user.created", {}, instance_id=1),
        body("user.created", {}).replace(b"{}", b'{"a":' * 128 + b"1" + b"}" * 128),
    ],
)
def test_what_is_no_event(content: bytes) -> None:
    """What is not one JSON object with a type, a time and data is malformed, and the error quotes none of it."""
    with pytest.raises(WebhookError) as raised:
        parse_event(content)

    assert raised.value.code == "webhook_malformed"
    assert "user" not in str(raised.value)


@pytest.mark.parametrize("content", [None, 1.5, {}, "half \ud800", "{"])
def test_what_is_no_body(content: Any) -> None:
    """A body that is no text at all is malformed, and nothing else is raised."""
    with pytest.raises(WebhookError):
        parse_event(content)


def test_text_and_bytes_are_read_alike() -> None:
    """A replay may hold text, and white space around it says nothing."""
    content = body("user.updated", user())

    assert parse_event(content.decode()) == parse_event(b"\n " + content + b"\n") == parse_event(content)


@pytest.mark.parametrize(
    "type_", ["user.banned", "user.merged", "emails.created", "organizationMembership", "x", "User.created"]
)
def test_unknown_types_are_ignored(type_: str) -> None:
    """A type that nobody has told us of is no error: it is taken, and nothing is kept."""
    unknown = event(type_, user())
    mine = reconciler()

    assert (unknown.records(NAME), unknown.is_mirrored, mine.apply(unknown).changes) == ([], False, ())
    assert mine.counts()["events"] == [{"type": "other", "outcome": "ignored", "count": 1}]


def test_the_repr_shows_no_data() -> None:
    """An event that is printed tells its type, and nothing personal."""
    given = sample("user.updated").event

    assert repr(given) == str(given) == f"{given}" == "Event('user.updated')"
    assert given == sample("user.updated").event
    assert isinstance(hash(given), int)
    assert isinstance(given, Event)


def test_an_unreadable_event_is_taken_and_told(listener: Listener) -> None:
    """An event that lacks what it must have is ignored with a reason, and the log names what is wrong."""
    mine = reconciler()

    assert mine.apply(event("user.updated", {"id": "org_1"})).changes == ()
    assert mine.counts()["events"] == [{"type": "user.updated", "outcome": "ignored", "count": 1}]
    assert listener.lines == [
        "a webhook of type user.updated cannot be read: id must be a Clerk id that begins with user_"
    ]
