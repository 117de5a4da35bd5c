"""Text that no database stores, text beyond all bounds, and values of every wrong type in every field."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from clerkmap.core.events import MAX_METADATA, MAX_TEXT, Unreadable
from clerkmap.core.records import AnyRecord, ClerkOrganization, ClerkUser
from clerkmap.repositories import MemoryRepository, SqliteRepository
from sample_bodies import ACME, ANN, NAME, event, membership, organization, reconciler, records, user

TEXTS = [
    ("Zoë 名字 🙂 \u202e", "Zoë 名字 🙂 \u202e"),
    ("a\x00b", "a\ufffdb"),
    ("\ud800", "\ufffd"),
    ("\udfff\ud800", "\ufffd\ufffd"),
    ("\ud83d\ude42", "🙂"),
    ("", ""),
    ("x" * MAX_TEXT, "x" * MAX_TEXT),
    ("x" * (MAX_TEXT + 1), "x" * MAX_TEXT),
    ("\x00" * 100_000, "\ufffd" * MAX_TEXT),
]


@pytest.fixture
def sqlite() -> Iterator[SqliteRepository]:
    repository = SqliteRepository.open(":memory:")
    yield repository
    repository.close()


@pytest.mark.parametrize("name", ["first_name", "last_name", "username", "image_url"])
@pytest.mark.parametrize(("given", "expected"), TEXTS)
def test_text_is_made_storable(sqlite: SqliteRepository, name: str, given: str, expected: str) -> None:
    """NUL and half characters are replaced, what is too long is cut, and a database takes the result."""
    told = event("user.updated", user(**{name: given}))
    (record,) = told.records(NAME)
    reconciler(sqlite).apply(told)

    standing = sqlite.find(NAME, ANN)
    assert standing is not None
    assert getattr(record, name) == expected
    assert standing.user.clerk == record


@pytest.mark.parametrize(("given", "expected"), TEXTS)
def test_names_of_organizations(given: str, expected: str) -> None:
    """An organization's texts are made storable in the same way, wherever it stands."""
    data = organization(name=given, slug=given, image_url=given)
    (alone,) = records("organization.updated", data)
    within = records("organizationMembership.created", membership(organization=data))[0]

    assert isinstance(alone, ClerkOrganization)
    assert (alone.name, alone.slug, alone.image_url) == (expected, expected, expected)
    assert within == alone


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"plan": "pro"}, '{"plan":"pro"}'),
        ({"b": [1, {"a\x00": "\ud800"}], "a": None}, '{"a":null,"b":[1,{"a\\ufffd":"\\ufffd"}]}'),
        ({"n": 2**70, "x": 1.5, "t": True}, '{"n":1180591620717411303424,"t":true,"x":1.5}'),
        ({"a": "x" * (MAX_METADATA - 8)}, '{"a":"' + "x" * (MAX_METADATA - 8) + '"}'),
        ({"a": "x" * (MAX_METADATA - 7)}, "{}"),
        (None, "{}"),
        ([], "{}"),
        ("{}", "{}"),
        (1, "{}"),
    ],
)
def test_metadata(sqlite: SqliteRepository, given: Any, expected: str) -> None:
    """Metadata is kept as one text of storable JSON; what is none, or beyond all bounds, is none at all."""
    mine = reconciler(sqlite)
    mine.apply(event("user.updated", user(public_metadata=given)))
    mine.apply(event("organizationMembership.created", membership(organization=organization(public_metadata=given))))

    standing = sqlite.find(NAME, ANN, ACME)
    assert standing is not None
    assert standing.organization is not None
    assert standing.user.clerk.public_metadata == standing.organization.clerk.public_metadata == expected
    assert isinstance(standing.user.public_metadata, dict)


def test_deep_metadata_is_read() -> None:
    """Metadata may be nested deeper than anything of Clerk's own."""
    deep: Any = "x"
    for _ in range(100):
        deep = {"a": [deep]} if _ % 10 == 0 else {"a": deep}

    (record,) = records("user.updated", user(public_metadata=deep))

    assert isinstance(record, ClerkUser)
    assert record.public_metadata.count('"a"') == 100


NASTY: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**30, "", "x", "\x00", "\ud800", "9" * 5000, [], [None], [[]], {}, {"id": {}},
    {"": None}, [{"id": "idn_1", "email_address": {}, "verification": []}], "user_x", "org_x", "orgmem_x",
]  # fmt: skip

GOOD: dict[str, dict[str, Any]] = {
    "user.created": user(username="ann", image_url="u", external_id="1", created_at=1, public_metadata={"a": 1}),
    "user.deleted": {"id": ANN, "deleted": True, "external_id": "1"},
    "organization.updated": organization(image_url="u", created_at=1, public_metadata={"a": 1}),
    "organization.deleted": {"id": ACME, "deleted": True, "slug": "acme"},
    "organizationMembership.created": membership(created_at=1),
    "organizationMembership.deleted": membership(created_at=1),
    "session.created": {"id": "sess_1", "user": user()},
}


def spoilt(value: Any) -> Iterator[Any]:
    """The value with each part of it, however deep, replaced by each nasty value in turn, or taken away."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: worse} for worse in [*NASTY, *spoilt(each)])
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from ([*value[:position], worse, *value[position + 1 :]] for worse in [*NASTY, *spoilt(each)])


@pytest.mark.parametrize("type_", sorted(GOOD))
def test_wrong_types_raise_nothing(sqlite: SqliteRepository, type_: str) -> None:
    """Whatever stands in whatever field, an event is applied, brings nothing new or is ignored; databases agree."""
    memory = MemoryRepository()
    both = [reconciler(memory), reconciler(sqlite)]
    bodies = list(spoilt(GOOD[type_]))

    for data in bodies:
        told = event(type_, data)
        first, second = (mine.apply(told).changes for mine in both)
        assert len(first) == len(second)

    counted = both[0].counts()["events"]
    assert {each["outcome"] for each in counted} <= {"applied", "nothing_new", "ignored"}
    assert sum(each["count"] for each in counted) == len(bodies) > 2 * len(NASTY)
    assert both[0].counts()["events"] == both[1].counts()["events"]


def test_nothing_that_is_stored_is_half_a_character(sqlite: SqliteRepository) -> None:
    """What the nasty values leave behind can be written by SQLite itself as UTF-8."""
    plain = sqlite3.connect(":memory:")
    for type_, data in GOOD.items():
        for each in spoilt(data):
            found: list[AnyRecord] = []
            with suppress(Unreadable):
                found = records(type_, each)
            for record in found:
                plain.execute("SELECT " + ", ".join("?" for _ in record.said()), record.said())
                assert "\x00" not in "".join(str(part) for part in record.said())
    plain.close()


@pytest.mark.parametrize("given", ["", "a\x00b", "\ud800", "x" * 1001, 7, None])
def test_what_identifies_is_kept_to_the_letter_or_not_at_all(given: object) -> None:
    """An external id that was cut or mended would be another person's."""
    (record,) = records("user.updated", user(external_id=given))

    assert isinstance(record, ClerkUser)
    assert record.external_id is None
