"""What is read of people, organizations and memberships, field by field."""

from typing import Any

import pytest

from clerkmap.core.events import Unreadable
from clerkmap.core.records import DELETED, EMBEDDED, FULL, ClerkMembership, ClerkOrganization, ClerkUser, key_of
from sample_bodies import (
    ACME,
    ANN,
    MS,
    NAME,
    address,
    event,
    membership,
    organization,
    public_user,
    records,
    sample,
    user,
)


def person(type_: str = "user.updated", **said: Any) -> ClerkUser:
    """The one person that an event of such a user is about."""
    (record,) = records(type_, user(**said))
    assert isinstance(record, ClerkUser)
    return record


def of_membership(type_: str, data: dict[str, Any]) -> tuple[ClerkOrganization, ClerkUser, ClerkMembership]:
    """The three records of a membership's event."""
    company, who, place = records(type_, data)
    assert isinstance(company, ClerkOrganization)
    assert isinstance(who, ClerkUser)
    assert isinstance(place, ClerkMembership)
    return company, who, place


OLD, NEW = address("idn_1", "old@example.com"), address("idn_2", "new@example.com")


@pytest.mark.parametrize(
    ("addresses", "primary", "expected"),
    [
        ([OLD, NEW], "idn_2", ("new@example.com", True)),
        ([OLD, NEW], "idn_1", ("old@example.com", True)),
        ([OLD, NEW], None, (None, False)),
        ([OLD, NEW], "idn_3", (None, False)),
        ([OLD, NEW], "IDN_1", (None, False)),
        ([OLD, NEW], {}, (None, False)),
        ([], "idn_1", (None, False)),
        (None, "idn_1", (None, False)),
        ({"idn_1": OLD}, "idn_1", (None, False)),
        ("idn_1", "idn_1", (None, False)),
        ([{**OLD, "id": None}], None, (None, False)),
        ([None, 1, "idn_2", [], NEW], "idn_2", ("new@example.com", True)),
    ],
)
def test_the_primary_address_is_found_by_its_id(addresses: Any, primary: Any, expected: tuple[Any, bool]) -> None:
    """The address whose id is the primary one, and no other: not the first, not the only one."""
    record = person(email_addresses=addresses, primary_email_address_id=primary)

    assert (record.email, record.email_verified) == expected


@pytest.mark.parametrize(
    ("verification", "expected"),
    [
        ({"status": "verified"}, True),
        ({"status": "verified", "strategy": "admin"}, True),
        *[({"status": status}, False) for status in ("unverified", "failed", "expired", "transferable", "Verified")],
        *[({"status": status}, False) for status in (True, 1, None, ["verified"], {"status": "verified"})],
        ({}, False),
        (None, False),
        ("verified", False),
        (["verified"], False),
        (True, False),
    ],
)
def test_an_address_is_verified_only_where_it_says_so(verification: Any, expected: bool) -> None:
    """Nothing but the status `verified` counts; an address that says nothing is unverified, and still the primary."""
    record = person(email_addresses=[{**address(), "verification": verification}])

    assert (record.email, record.email_verified) == ("ann@example.com", expected)


@pytest.mark.parametrize("email", [None, 1, [], {}, "ann@example.com" + ".example.com" * 100])
def test_without_an_address_nothing_is_verified(email: Any) -> None:
    """A primary address that is no text, or too long to be kept whole, is none; and none is not verified."""
    record = person(email_addresses=[address(email=email)])

    assert (record.email, record.email_verified) == (None, False)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, False),
        ({"banned": True}, True),
        ({"banned": False, "deprovisioned": True}, True),
        ({"banned": None, "deprovisioned": None}, False),
        ({"locked": True, "lockout_expires_in_seconds": None}, False),
        ({"banned": "true"}, False),
        ({"banned": 1}, False),
    ],
)
def test_who_is_out(said: dict[str, Any], expected: bool) -> None:
    """Banned and shut out by a directory count alike; a lock ends by itself, and does not count."""
    glimpsed = of_membership("organizationMembership.updated", membership(public_user_data=public_user(**said)))[1]
    (in_session,) = records("session.created", {"user": user(**said)})

    assert isinstance(in_session, ClerkUser)
    assert [record.banned for record in (person(**said), glimpsed, in_session)] == [expected] * 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("user.created", ("mara.lindqvist@example.com", True, False, None)),
        ("user.updated", ("mara.l@example.com", True, False, "usr_000042")),
        ("user.updated.banned", ("mara.l@example.com", True, True, "usr_000042")),
        ("user.updated.locked", ("mara.l@example.com", True, False, "usr_000042")),
        ("user.updated.deprovisioned", ("jonas.weber@example.com", True, True, None)),
        ("edge/user.created.no_email", (None, False, False, None)),
        ("edge/user.created.primary_not_in_list", (None, False, False, None)),
        ("edge/user.created.unverified_primary", ("unverified@example.com", False, False, None)),
        ("edge/user.created.legacy_shape", ("legacy@example.com", True, False, "567772")),
    ],
)
def test_people_in_the_samples(name: str, expected: tuple[Any, ...]) -> None:
    """Address, whether it is verified, whether the person is out, and your own id, from whole bodies."""
    (record,) = sample(name).event.records(NAME)

    assert isinstance(record, ClerkUser)
    assert (record.grade, record.observed_at) == (FULL, sample(name).said["timestamp"])
    assert (record.email, record.email_verified, record.banned, record.external_id) == expected


def test_a_membership_gives_three_records() -> None:
    """The organization in full, the person at a glimpse, the membership in full; the identifier is not taken."""
    company, who, place = of_membership("organizationMembership.created", membership())

    assert company == records("organization.updated", organization())[0]
    assert (company.grade, who.grade, place.grade) == (FULL, EMBEDDED, FULL)
    assert (who.clerk_id, who.first_name, who.email, who.email_verified, who.updated_at) == (
        ANN,
        "Ann",
        None,
        False,
        None,
    )
    assert (place.clerk_id, place.role, place.updated_at) == ("orgmem_1", "org:member", MS)
    assert (place.user_key, place.organization_key) == (key_of(ANN), key_of(ACME))
    assert "ann@example.com" not in str([company.said(), who.said(), place.said()])


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("org:admin", "org:admin"),
        ("admin", "org:admin"),
        ("basic_member", "org:basic_member"),
        ("org:org:x", "org:x"),
        ("", None),
        (None, None),
        (1, None),
        (["org:admin"], None),
    ],
)
def test_roles_are_written_one_way(role: Any, expected: str | None) -> None:
    """Roles of old instances get their prefix; what is no text is no role."""
    assert of_membership("organizationMembership.updated", membership(role=role))[2].role == expected


def test_a_membership_that_was_left() -> None:
    """A deletion comes with a full body and its old dates: it is a tombstone, of the envelope's time."""
    data = membership(at=MS - 1_000_000)
    company, who, place = of_membership("organizationMembership.deleted", data)

    assert (place.grade, place.observed_at, place.updated_at) == (DELETED, MS, None)
    assert (place.clerk_id, place.role, place.created_at) == (None, None, MS)  # since when, it has to tell
    assert (place.user_key, place.organization_key) == (key_of(ANN), key_of(ACME))
    assert place.key == of_membership("organizationMembership.created", data)[2].key
    assert (company.grade, company.updated_at, who.grade) == (FULL, MS - 1_000_000, EMBEDDED)


@pytest.mark.parametrize("person", [None, {}, [], "user_1", 1])
def test_a_membership_of_nobody(person: Any) -> None:
    """Where nobody has said whose membership it is, its organization is all there is to learn."""
    (company,) = records("organizationMembership.created", membership(public_user_data=person))

    assert (company.kind, company.clerk_id) == ("organization", ACME)


@pytest.mark.parametrize("data", [{"id": ANN}, {"id": ANN, "deleted": True, "slug": None, "external_id": "x"}])
def test_a_deleted_person(data: dict[str, Any]) -> None:
    """A stub is enough, with or without what is optional in it; nothing personal is left."""
    (record,) = records("user.deleted", data)

    assert record == ClerkUser.deleted(NAME, ANN, observed_at=MS)
    assert ANN not in str(record.said())


def test_a_deleted_organization() -> None:
    """The slug is optional, and not kept."""
    expected = [ClerkOrganization.deleted(NAME, ACME, observed_at=MS)]

    assert records("organization.deleted", {"id": ACME, "object": "organization", "deleted": True}) == expected
    assert records("organization.deleted", {"id": ACME, "slug": "acme"}) == expected


OVER = ["session.ended", "session.removed", "session.revoked"]


@pytest.mark.parametrize("type_", ["session.created", "session.pending", *OVER])
def test_a_session_shows_its_person(type_: str) -> None:
    """The person inside a session is glimpsed: never above what was stated. Without one there is nothing."""
    record, *over = records(type_, {"id": "sess_1", "user": user(banned=True)})

    assert isinstance(record, ClerkUser)
    assert (record.grade, record.email, record.banned, record.updated_at) == (EMBEDDED, "ann@example.com", True, MS)
    assert len(over) == (type_ in OVER)
    for nobody in NOBODY:
        assert records(type_, {"id": "sess_1", "user": nobody}) == over
    assert records(type_, {"id": "sess_1", "user_id": ANN}) == over


@pytest.mark.parametrize("type_", OVER)
def test_a_session_that_is_over(type_: str) -> None:
    """Of a session nothing is kept but that it is over; one without an id cannot be told from others."""
    (over,) = records(type_, {"id": "sess_1"})

    assert (over.kind, over.grade, over.clerk_id, over.observed_at) == ("session", DELETED, None, MS)
    for bad in (None, 7, "", "user_1", "sess_", ["sess_1"]):
        with pytest.raises(Unreadable):
            records(type_, {"id": bad, "user": user()})


NOBODY: list[Any] = [None, {}, "x", []]
BAD_IDS: list[Any] = [
    None,
    "",
    "user",
    "user_",
    "user_a b",
    "usr_1",
    "User_1",
    "user_\x00",
    "user_" + "a" * 121,
    1,
    [],
    {},
]


@pytest.mark.parametrize("id", [*BAD_IDS, "user_1\n"])
@pytest.mark.parametrize("type_", ["user.created", "user.updated", "user.deleted"])
def test_an_id_that_is_none(type_: str, id: Any) -> None:
    """A person without an id of a person's form cannot be told from others; the error does not quote it."""
    with pytest.raises(Unreadable, match=r"^id must be a Clerk id that begins with user_$"):
        event(type_, user(id)).records(NAME)
