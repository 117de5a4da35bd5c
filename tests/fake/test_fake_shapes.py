"""Events of the made-up Clerk have Clerk's shapes: held against samples of the real ones, both ways, field by field."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from clerkmap import parse_event
from clerkmap.core.records import ClerkUser, key_of
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.fake.shapes import body_of, machine_token_shape
from sample_bodies import SAMPLES

NOW = 1_790_000_000
NAME = "clerk.example.com"

# What may be null by Clerk's word, and is so on one side only: nobody here has a password, a city or a middle name.
NULLABLE = {
    *("first_name", "last_name", "external_id", "last_active_at", "last_sign_in_at", "password_last_updated_at"),
    *("lockout_expires_in_seconds", "last_active_organization_id", "latest_activity", "city", "country"),
    *("attempts", "expire_at", "actor", "created_by", "inviter_id"),
}
# What stands in one of the samples, is optional by Clerk's word, and is not played here.
NOT_PLAYED = {
    "user.updated": ("data.scim", "data.scim.directory_enabled", "data.scim.directory_id", "data.scim.external_id"),
    "organization.updated": ("data.last_active_at",),
}
FREE = ("public_metadata", "private_metadata", "unsafe_metadata")  # what is in them is the application's


def played() -> FakeClerk:
    """A Clerk at which everything has happened that it has an event for."""
    clerk = FakeClerk(seed=3, clock=Clock(NOW))
    ada = clerk.create_user("ada@example.com", first_name="Ada", last_name="L", external_id="x1")
    clerk.merge_metadata(ada, public_metadata={"plan": "pro"}, private_metadata={"b": 1, "a": 2})
    acme = clerk.create_organization("Acme", created_by=ada)
    clerk.update_organization(acme, name="Acme & Sons")
    bea = clerk.accept_invitation(clerk.invite(acme, "bea@example.com", inviter=ada))
    clerk.revoke_invitation(clerk.invite(acme, "cid@example.com", inviter=ada))
    clerk.add_member(acme, bea, role="org:admin")
    clerk.remove_member(acme, bea)
    clerk.end_session(clerk.sign_in(ada, acme), "ended")
    clerk.end_session(clerk.sign_in(ada, pending=True), "removed")
    clerk.sign_in(ada)
    clerk.add_address(ada, "ada@example.org", verified=False)
    clerk.lock(ada)
    clerk.deprovision(bea)
    clerk.ban(ada)
    clerk.delete_organization(acme)
    clerk.delete_user(bea)
    clerk.delete_user(ada)
    return clerk


def as_described(said: dict[str, Any]) -> dict[str, Any]:
    """A sample with the organization of an invitation where the published description has it: one level deeper."""
    data = dict(said["data"])
    if "public_organization_data" in data:
        data["data"] = {"public_organization_data": data.pop("public_organization_data")}
    return said | {"data": data}


MESSAGES = list(played().wire.messages.values())
SAID = [json.loads(message.body) for message in MESSAGES]
REAL = [as_described(sample.said) for sample in SAMPLES.values() if "/" not in sample.file]
TYPES = sorted({said["type"] for said in REAL})
# Sessions of all types are compared as one: where one of them was, is told in some samples only.
GROUPS = sorted({type.partition(".")[0] if type.startswith("session.") else type for type in TYPES})


def kinds(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every place in a JSON value, and the type of what stands there."""
    yield path, type(value).__name__
    if isinstance(value, dict) and not path.endswith(FREE):
        for name, each in value.items():
            yield from kinds(each, f"{path}.{name}".removeprefix("."))
    for each in value if isinstance(value, list) else []:
        yield from kinds(each, f"{path}[]")


def shape_of(bodies: Iterable[dict[str, Any]], group: str) -> dict[str, set[str]]:
    """The types that stand at each place of all bodies of a group, without what is documented above."""
    shape: dict[str, set[str]] = {}
    for said in bodies:
        for path, kind in kinds(said) if said["type"].startswith(group) else []:
            null = kind == "NoneType" and path.rpartition(".")[2] in NULLABLE
            if path not in NOT_PLAYED.get(group, ()):
                shape.setdefault(path, set()).update(() if null else (kind,))
    return shape


def test_every_type_of_event_that_is_sampled_is_played() -> None:
    """People, organizations, memberships, invitations and sessions: all their types, and no other."""
    assert sorted({message.type for message in MESSAGES}) == TYPES


@pytest.mark.parametrize("group", GROUPS)
def test_an_event_has_the_keys_and_types_of_a_real_one(group: str) -> None:
    """Nothing is missing, nothing is added, and everything is of its type, at every depth."""
    mine, real = shape_of(SAID, group), shape_of(REAL, group)
    assert mine.keys() == real.keys()
    assert {
        path: (mine[path], real[path]) for path in mine if mine[path] and real[path] and mine[path] != real[path]
    } == {}


def test_keys_stand_in_the_order_of_the_alphabet() -> None:
    """At every depth, and the body is compact UTF-8, as Clerk writes it."""

    def in_order(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert [name for name, _ in pairs] == sorted(name for name, _ in pairs)
        return dict(pairs)

    for message in MESSAGES:
        said = json.loads(message.body, object_pairs_hook=in_order)
        assert message.body == json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    assert "Zoë".encode() in body_of("user.created", {"first_name": "Zoë"}, "ins_1", 1)


def test_clerkmap_reads_in_each_event_what_it_reads_in_the_real_one() -> None:
    """The same kinds of record, of the same grades."""

    def records(body: bytes) -> list[tuple[str, str]]:
        return [(record.kind, record.grade) for record in parse_event(body).records(NAME)]

    real = {sample.type: records(sample.body) for sample in SAMPLES.values() if "/" not in sample.file}
    for message in MESSAGES:
        assert records(message.body) == real[message.type], message.type


def test_what_is_read_is_what_was_done() -> None:
    """The last words on a person before they were deleted, field by field."""
    clerk = FakeClerk(seed=3, clock=Clock(NOW))
    ada = clerk.create_user("ada@example.com", first_name="Ada", username="ada", external_id="x1", verified=False)
    other = clerk.add_address(ada, "ada@example.org")
    clerk.update_user(ada, primary_address_id=other.id, last_name="Lovelace")
    clerk.merge_metadata(ada, public_metadata={"plan": {"name": "pro"}}, private_metadata={"secret": 1})
    (record,) = parse_event([*clerk.wire.messages.values()][-1].body).records(NAME)
    assert isinstance(record, ClerkUser)
    assert record.key == key_of(ada.id)
    assert (record.email, record.email_verified) == ("ada@example.org", True)
    assert (record.first_name, record.last_name, record.username) == ("Ada", "Lovelace", "ada")
    assert (record.external_id, record.public_metadata) == ("x1", '{"plan":{"name":"pro"}}')
    assert (record.created_at, record.updated_at) == (ada.created_at, ada.updated_at)


def test_times_go_on() -> None:
    """Each event was made after what it tells of, and each after the one before it."""
    stamps = [said["timestamp"] for said in SAID]
    assert stamps == sorted(set(stamps))
    for said in SAID:
        dates = [said["data"][name] for name in ("created_at", "updated_at") if name in said["data"]]
        assert [0, *dates, said["timestamp"]] == sorted([0, *dates, said["timestamp"]])
        assert 0 not in dates


def test_a_membership_counts_the_members_as_they_are() -> None:
    """Who has been removed is not counted any more."""
    counts = [
        said["data"]["organization"]["members_count"] for said in SAID if said["type"].startswith("organizationMem")
    ]
    assert counts == [1, 2, 2, 1]


def test_a_deleted_thing_tells_no_more_than_it_must() -> None:
    """Its id, and what others may have called it by."""
    deleted = {said["type"]: said["data"] for said in SAID if said["type"] in ("user.deleted", "organization.deleted")}
    assert deleted["user.deleted"].keys() == {"deleted", "external_id", "id", "object"}
    assert deleted["organization.deleted"].keys() == {"deleted", "id", "object", "slug"}


def test_opaque_tokens_tell_of_themselves_and_never_their_secret() -> None:
    """What Clerk's API answers about each kind; and when each expires."""
    clerk = FakeClerk(seed=3, clock=Clock(NOW))
    ada = clerk.create_user()
    key = clerk.create_api_key(ada, name="deploy", scopes=["read"], claims={"a": 1}, expires_in=60)
    tokens = [key, clerk.create_machine_token(scopes=["mch_a"]), clerk.create_oauth_token(ada)]
    shapes = [machine_token_shape(token, NOW * 1000) for token in tokens]
    assert [shape["object"] for shape in shapes] == [
        "api_key",
        "machine_to_machine_token",
        "clerk_idp_oauth_access_token",
    ]
    assert all(token.secret not in json.dumps(shape) for token, shape in zip(tokens, shapes, strict=True))
    assert key.secret not in repr(key)
    assert shapes[0]["subject"] == shapes[2]["subject"] == ada.id
    assert [shape["expired"] for shape in shapes] == [False, False, False]
    assert machine_token_shape(key, NOW * 1000 + 61_000)["expired"]
    clerk.revoke_machine_token(key)
    assert machine_token_shape(key, NOW * 1000)["revoked"]
