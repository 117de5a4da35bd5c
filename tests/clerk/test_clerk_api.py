"""What can be asked of Clerk's API, each question once, in both colours: how it is sent, and how it is answered."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from clerk_api_world import COLOURS, Colour, Far, World, answer
from clerkmap import ConfigurationError, Instance
from clerkmap.clerk import AsyncClerkApi, ClerkApi, endpoints
from clerkmap.clerk.endpoints import ClerkRequest, Page
from clerkmap.core.times import to_datetime
from clerkmap.errors import ApiKeyRefused, ApiNotFound, ApiRefused
from clerkmap.testing import FakeClerk

every_colour = pytest.mark.parametrize("colour", COLOURS)


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


@every_colour
def test_people(colour: Colour) -> None:
    """One, all, how many, by id, by address and by your own id."""
    world = World(colour)
    ann = world.clerk.create_user(email="ann+work@example.com", external_id="-17")
    bob = world.clerk.create_user(email="bob@example.com")

    assert world.send(endpoints.user(ann.id))["id"] == ann.id
    assert ids(world.send(endpoints.users())) == [ann.id, bob.id]
    assert ids(world.send(endpoints.users(ids=[bob.id, ann.id]))) == [ann.id, bob.id]
    assert ids(world.send(endpoints.users(emails=["ann+work@example.com"]))) == [ann.id]
    assert ids(world.send(endpoints.users(external_ids=["-17"]))) == [ann.id]  # not: all but 17
    assert world.send(endpoints.user_count()) == 2
    with pytest.raises(ApiNotFound) as gone:
        world.send(endpoints.user("user_nobody"))
    assert (gone.value.status, gone.value.codes) == (404, ("resource_not_found",))
    assert gone.value.trace_id


@every_colour
def test_changing_people(colour: Colour) -> None:
    """What is changed is answered as it is now. Metadata are merged, and None takes a key away."""
    world = World(colour)
    ann = world.clerk.create_user(public_metadata={"a": 1, "b": 2})

    assert world.send(endpoints.update_user(ann.id, external_id="17"))["external_id"] == "17"
    merged = world.send(endpoints.merge_user_metadata(ann.id, public_metadata={"b": None, "c": 3}))
    assert merged["public_metadata"] == {"a": 1, "c": 3}
    with pytest.raises(ApiRefused) as refused:  # in this version it has an endpoint of its own
        world.send(endpoints.update_user(ann.id, public_metadata={}))
    assert refused.value.status == 422


@every_colour
def test_organizations(colour: Colour) -> None:
    """Made, listed, found by id and by slug; their metadata merged; and who is in them."""
    world = World(colour)
    ann, bob = world.clerk.create_user(), world.clerk.create_user()
    acme = world.send(endpoints.create_organization("Acme", created_by=ann.id, slug="acme"))["id"]
    other = world.send(endpoints.create_organization("Other", created_by=bob.id))["id"]

    assert world.send(endpoints.organization(acme))["name"] == world.send(endpoints.organization("acme"))["name"]
    listed = world.send(endpoints.organizations())
    assert (ids(listed.rows), listed.total) == ([acme, other], 2)
    assert ids(world.send(endpoints.organizations(ids=[other])).rows) == [other]
    assert ids(world.send(endpoints.organizations(user=ann.id)).rows) == [acme]
    merged = world.send(endpoints.merge_organization_metadata(acme, public_metadata={"hotel": 7}))
    assert merged["public_metadata"] == {"hotel": 7}
    everybody = world.send(endpoints.memberships())
    assert everybody.total == 2
    in_acme = world.send(endpoints.members(acme))
    assert (
        in_acme == world.send(endpoints.members(acme, users=[ann.id])) == world.send(endpoints.memberships_of(ann.id))
    )
    assert in_acme.rows[0]["organization"]["id"] == acme
    assert world.send(endpoints.members(acme, users=[bob.id])) == Page([], 0)
    with pytest.raises(ApiNotFound):
        world.send(endpoints.members("org_nothing"))


@every_colour
def test_invitations(colour: Colour) -> None:
    """They are sent, listed by their status, and revoked."""
    world = World(colour)
    ann = world.clerk.create_user()
    acme = world.clerk.create_organization(created_by=ann).id
    sent = world.send(endpoints.invite(acme, "bob@example.com", "org:admin", inviter_user_id=ann.id))
    assert (sent["email_address"], sent["role"], sent["status"]) == ("bob@example.com", "org:admin", "pending")
    assert world.send(endpoints.invitations(acme, status=["pending"])).rows == [sent]
    assert world.send(endpoints.invitations(acme)).total == 1
    assert world.send(endpoints.revoke_invitation(acme, sent["id"]))["status"] == "revoked"
    assert world.send(endpoints.invitations(acme, status=["pending", "accepted"])) == Page([], 0)
    with pytest.raises(ApiRefused):
        world.send(endpoints.revoke_invitation(acme, sent["id"]))


@every_colour
def test_sessions(colour: Colour) -> None:
    """Those that are active are listed, and one is revoked."""
    world = World(colour)
    ann = world.clerk.create_user()
    first, second = world.clerk.sign_in(ann), world.clerk.sign_in(ann)
    assert sorted(ids(world.send(endpoints.sessions(ann.id)).rows)) == sorted([first.id, second.id])
    assert world.send(endpoints.revoke_session(first.id))["status"] == "revoked"
    assert ids(world.send(endpoints.sessions(ann.id)).rows) == [second.id]
    assert world.send(endpoints.sessions(ann.id, status="revoked")).total == 1
    with pytest.raises(ApiNotFound):
        world.send(endpoints.revoke_session("sess_nothing"))


@every_colour
def test_keys_and_tokens(colour: Colour) -> None:
    """The signing keys, and what an opaque token stands for."""
    world = World(colour)
    ann = world.clerk.create_user()
    key, machine = world.clerk.create_api_key(ann), world.clerk.create_machine_token()

    assert world.send(endpoints.jwks()) == world.clerk.jwks()
    assert world.send(endpoints.verify_api_key(key.secret))["subject"] == ann.id
    assert world.send(endpoints.verify_machine_token(machine.secret))["subject"] == machine.subject
    token = world.clerk.oauth_token(ann)
    assert world.send(endpoints.verify_oauth_token(token))["subject"] == ann.id
    with pytest.raises(ApiNotFound):
        world.send(endpoints.verify_api_key("ak_nothing"))


@every_colour
def test_the_cursor(colour: Colour) -> None:
    """People are read behind the last one of the page before. Who comes and goes shifts nothing."""
    world = World(colour)
    people = []
    for number in range(7):
        world.clock.advance(1)
        people.append(world.clerk.create_user(email=f"{number}@example.com"))
    seen: list[str] = []
    while page := world.send(endpoints.users(limit=2, starting_after=seen[-1] if seen else None)):
        seen += ids(page)
        if len(seen) == 2:
            world.clerk.delete_user(people[0])
    assert seen == [each.id for each in people]
    since = to_datetime(people[4].created_at)
    assert ids(world.send(endpoints.users(created_at_after=since))) == [each.id for each in people[5:]]
    with pytest.raises(ApiRefused):
        world.send(endpoints.users(starting_after=seen[0], order_by="-updated_at"))


@every_colour
def test_the_offset(colour: Colour) -> None:
    """Everything else is read by offset, with how many there are in all."""
    world = World(colour)
    ann = world.clerk.create_user()
    made = [world.clerk.create_organization(f"Number {number}", created_by=ann).id for number in range(5)]
    pages: list[Callable[[int], ClerkRequest[Page]]] = [
        lambda offset: endpoints.organizations(limit=2, offset=offset),
        lambda offset: endpoints.memberships(limit=2, offset=offset),
        lambda offset: endpoints.memberships_of(ann.id, limit=2, offset=offset),
    ]
    for question in pages:
        read = [world.send(question(offset)) for offset in (0, 2, 4)]
        assert [(len(page.rows), page.total) for page in read] == [(2, 5), (2, 5), (1, 5)]
        found = [row.get("organization", row)["id"] for page in read for row in page.rows]
        assert sorted(found) == sorted(made)
    acme = made[0]
    assert world.send(endpoints.members(acme, limit=1, offset=1)) == Page([], 1)


@every_colour
def test_what_is_sent(colour: Colour) -> None:
    """One version, one key, JSON, and a query in which a key stands once for each value and a plus is spelled out."""
    far = Far(answer(b"[]"))
    world = World(colour, far)
    world.send(endpoints.users(limit=5, ids=["user_1", "user_2"], emails=["a+b&c=d@example.com"], external_ids=["é%"]))
    far.answers = [answer(b"{}")]
    world.send(endpoints.create_organization("Ä", slug=None))

    get, post = far.requests
    assert str(get.url).startswith("https://api.clerk.com/v1/users?")
    raw = get.url.query.decode()
    assert parse_qsl(raw) == [
        ("limit", "5"),
        ("order_by", "+created_at"),
        ("user_id", "user_1"),
        ("user_id", "user_2"),
        ("email_address", "a+b&c=d@example.com"),
        ("external_id", "é%"),
    ]
    assert "+" not in raw
    assert "order_by=%2Bcreated_at" in raw
    for request in far.requests:
        assert request.headers.get_list("clerk-api-version") == ["2026-05-12"]
        assert request.headers["authorization"] == f"Bearer {world.clerk.secret_key}"
        assert request.headers["host"] == "api.clerk.com"
        assert "cookie" not in request.headers
    assert (post.method, post.headers["content-type"]) == ("POST", "application/json")
    assert post.read() == b'{"name": "\\u00c4", "slug": null}'


@pytest.mark.parametrize("id", ["", ".", "..", "../users", "a/b", "a?b", "a#b", "a%2e", "\ud800", "a b", "a\n", "é"])
def test_an_id_leads_nowhere_else(id: str) -> None:
    """What cannot be an id is not sent: it would ask for something else, and be answered."""
    for question in (
        endpoints.user,
        endpoints.organization,
        endpoints.members,
        endpoints.memberships_of,
        endpoints.revoke_session,
    ):
        with pytest.raises(ConfigurationError, match=r"letters, digits, - and _$"):
            question(id)


@every_colour
def test_another_key(colour: Colour) -> None:
    """A key that Clerk does not know is told from everything else."""
    world = World(colour)
    world.clerk.tokens.secret_key = "sk_test_" + "another1" * 4
    question = endpoints.user_count()
    far = World(colour, FakeClerk(1).transport())
    assert far.send(question) == 0
    world.options["transport"] = FakeClerk(2).transport()
    with pytest.raises(ApiKeyRefused, match="clerk_key_invalid") as refused:
        world.send(question)
    assert refused.value.status == 401
    assert "sk_test" not in str(refused.value)


@pytest.mark.parametrize("kind", [ClerkApi, AsyncClerkApi])
def test_without_a_key(kind: type[ClerkApi] | type[AsyncClerkApi]) -> None:
    """It is said at construction what is missing, and where it is found."""
    for instance in (
        FakeClerk().make_instance(secret_key=None),
        Instance.oidc(issuer="https://id.example.com", audience="api"),
    ):
        with pytest.raises(ConfigurationError, match="set CLERK_SECRET_KEY"):
            kind(instance)


def test_no_repr_tells() -> None:
    """Neither an API nor a question shows a key or a person."""
    world = World()
    shown = repr(ClerkApi(world.clerk.instance, **world.options)), repr(AsyncClerkApi(world.clerk.instance))
    assert shown == ("ClerkApi('seed-1.clerk.accounts.dev')", "AsyncClerkApi('seed-1.clerk.accounts.dev')")
    told = repr([endpoints.user("user_2abcdefgh"), endpoints.users(emails=["ann@example.com"])])
    assert "user_2" not in told
    assert "ann" not in told
