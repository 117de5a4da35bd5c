"""The made-up Clerk writes what Clerk's published descriptions say, and clerkmap reads all that they allow."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clerk_schemas import EVENTS, PATTERNS, SCHEMAS, faults, faults_of_type, fields_of
from clerkmap.clerk import endpoints
from clerkmap.core.events import Unreadable, parse_event, records_of
from clerkmap.core.opaque_tokens import read_answer
from clerkmap.core.records import FROM_TOKEN
from clerkmap.errors import ClaimInvalid, TokenExpired, TokenUnknown
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.fake.api import organizations, tokens, users
from fake_api_world import client_of

NOW = 1_790_000_000
ROUTES = [(route.method, route.path) for route in (*organizations.ROUTES, *tokens.ROUTES, *tokens.JWKS, *users.ROUTES)]
SAMPLES = sorted((Path(__file__).parents[1] / "support" / "samples").rglob("*.json"))


class Story:
    """A Clerk with some of everything, and each of its answers held against the descriptions."""

    def __init__(self) -> None:
        self.clerk = clerk = FakeClerk(5, clock=Clock(NOW))
        self.client = client_of(clerk)
        self.asked: list[tuple[str, str]] = []
        self.user = clerk.create_user("ada@example.com", "two@example.com", first_name="Ada", username="ada")
        self.bare = clerk.create_user()
        self.acme = clerk.create_organization("Acme", created_by=self.user)
        self.bare_one = clerk.create_organization("Nobody's")
        self.session = clerk.sign_in(self.user, self.acme)

    def ask(self, method: str, path: str, schema: str, *ids: str, body: Any = None, query: str = "") -> Any:
        """Ask something of the API. The answer is what the descriptions say."""
        self.asked.append((method, path))
        answer = self.client.request(method, path.format(*ids) + query, json=body)
        assert answer.status_code == 200, (method, path, answer.text)
        assert faults_of_type(schema, answer.json(), f"{method} {path}") == []
        return answer.json()


def test_every_answer_of_the_api_is_as_described() -> None:
    """Of each of its addresses, for people and organizations with and without what can be missing."""
    story = Story()
    ask, clerk, user, acme = story.ask, story.clerk, story.user, story.acme
    for person in (user, story.bare):
        ask("GET", "/users/{}", "User", person.id)
        ask("PATCH", "/users/{}/metadata", "User", person.id, body={"public_metadata": {"a": 1}})
        ask("PUT", "/users/{}/metadata", "User", person.id, body={"private_metadata": {"b": [None]}})
        for what in ("lock", "unlock", "ban", "unban"):
            ask("POST", f"/users/{{}}/{what}", "User", person.id)
    made = ask("POST", "/users", "User", body={"email_address": ["eve@example.com"], "external_id": "7"})
    ask("PATCH", "/users/{}", "User", made["id"], body={"first_name": "Eve"})
    ask("POST", "/users/ban", "[User]", body={"user_ids": [made["id"]]})
    ask("POST", "/users/unban", "[User]", body={"user_ids": [made["id"]]})
    ask("GET", "/users", "[User]")
    ask("GET", "/users/count", "Count")
    address = ask("POST", "/email_addresses", "EmailAddress", body={"user_id": made["id"], "email_address": "e@f.org"})
    ask("GET", "/email_addresses/{}", "EmailAddress", address["id"])
    ask("PATCH", "/email_addresses/{}", "EmailAddress", address["id"], body={"verified": True})
    ask("DELETE", "/email_addresses/{}", "Deleted", address["id"])

    for organization in (acme, story.bare_one):
        ask("GET", "/organizations/{}", "Organization", organization.id)
        ask("PATCH", "/organizations/{}", "Organization", organization.id, body={"name": "New"})
        ask("PATCH", "/organizations/{}/metadata", "Organization", organization.id, body={"public_metadata": {}})
        ask("PUT", "/organizations/{}/metadata", "Organization", organization.id, body={"public_metadata": {}})
    ask("GET", "/organizations", "Organizations")
    ask("GET", "/organizations", "Organizations", query="?include_members_count=true")
    ask("POST", "/organizations", "Organization", body={"name": "Made"})
    place = (acme.id, made["id"])
    ask(
        "POST", "/organizations/{}/memberships", "Membership", acme.id, body={"user_id": place[1], "role": "org:member"}
    )
    ask("PATCH", "/organizations/{}/memberships/{}", "Membership", *place, body={"role": "org:admin"})
    ask("PATCH", "/organizations/{}/memberships/{}/metadata", "Membership", *place, body={"public_metadata": {"a": 1}})
    for path, id in (("/organizations/{}/memberships", acme.id), ("/users/{}/organization_memberships", made["id"])):
        ask("GET", path, "Memberships", id)
    ask("GET", "/organization_memberships", "Memberships")
    ask("DELETE", "/organizations/{}/memberships/{}", "Membership", *place)

    wanted: dict[str, Any] = {"email_address": "ben@example.com", "role": "org:member"}
    first = ask("POST", "/organizations/{}/invitations", "Invitation", acme.id, body=wanted)
    several = [wanted | {"email_address": "cy@example.com", "inviter_user_id": user.id}]
    ask("POST", "/organizations/{}/invitations/bulk", "Invitations", acme.id, body=several)
    clerk.accept_invitation(list(clerk.invitations.values())[-1])
    ask("GET", "/organizations/{}/invitations/{}", "Invitation", acme.id, first["id"])
    ask("GET", "/organizations/{}/invitations", "Invitations", acme.id)
    ask("GET", "/organization_invitations", "ListedInvitations")
    guest = clerk.store.owner("email_address", "cy@example.com")
    assert len(ask("GET", "/users/{}/organization_invitations", "ListedInvitations", str(guest))["data"]) == 1
    ask("POST", "/organizations/{}/invitations/{}/revoke", "Invitation", acme.id, first["id"], body={})

    ask("GET", "/sessions", "[Session]", query=f"?user_id={user.id}")
    ask("GET", "/sessions", "Sessions", query=f"?user_id={user.id}&paginated=true")
    session = ask("POST", "/sessions", "Session", body={"user_id": user.id, "active_organization_id": acme.id})["id"]
    ask("GET", "/sessions/{}", "Session", session)
    ask("POST", "/sessions/{}/tokens", "Made", session)
    ask("POST", "/sessions/{}/tokens/{}", "Made", session, "any")
    ask("POST", "/sessions/{}/revoke", "Session", session)
    ask("GET", "/jwks", "Keys")

    for subject in (user, acme):
        key = clerk.create_api_key(subject, claims={"a": 1}, expires_in=60)
        ask("POST", "/api_keys/verify", "ApiKey", body={"secret": key.secret})
    machine = clerk.create_machine_token(scopes=[clerk.new_id("mch")])
    for token in (machine.secret, clerk.machine_token()):
        ask("POST", "/m2m_tokens/verify", "MachineToken", body={"token": token})
    path = "/oauth_applications/access_tokens/verify"
    for token in (clerk.create_oauth_token(user).secret, clerk.oauth_token(user)):
        ask("POST", path, "OauthToken", body={"access_token": token})
    ask("POST", path, "Inactive", body={"access_token": clerk.oauth_token(user, claims={"exp": 1, "iat": 1})})

    ask("DELETE", "/users/{}", "Deleted", made["id"])
    ask("DELETE", "/organizations/{}", "Deleted", story.bare_one.id)
    assert sorted(set(story.asked)) == sorted(set(ROUTES))


@pytest.mark.parametrize(
    ("path", "body"), [("/users/user_1", None), ("/nowhere", None), ("/users", {"nickname": "x"}), ("/users", [1])]
)
def test_a_refusal_is_as_described(path: str, body: Any) -> None:
    """Of whatever is not there, and of what cannot be done."""
    answer: httpx.Response = client_of(FakeClerk()).request("GET" if body is None else "POST", path, json=body)
    assert answer.status_code >= 400
    assert faults("Errors", answer.json()) == []


def test_every_webhook_is_as_described() -> None:
    """Of each type that the made-up Clerk says, with and without what can be missing."""
    clerk = FakeClerk(6, clock=Clock(NOW))
    ada = clerk.create_user("ada@example.com", first_name="Ada", external_id="7")
    bare = clerk.create_user()
    for person in (ada, bare):
        clerk.update_user(person, last_name="L")
        clerk.lock(person)
    acme, bare_one = clerk.create_organization("Acme", created_by=ada), clerk.create_organization("Nobody's")
    for organization in (acme, bare_one):
        clerk.update_organization(organization, name="New")
        clerk.add_member(organization, bare)
        clerk.add_member(organization, bare, role="org:admin")
        clerk.accept_invitation(clerk.invite(organization, "ben@example.com"))
        clerk.revoke_invitation(clerk.invite(organization, "cy@example.com", inviter=ada))
        clerk.remove_member(organization, bare)
    clerk.sign_in(ada, acme, pending=True)
    for how in ("ended", "removed", "revoked"):
        clerk.end_session(clerk.sign_in(ada, acme, actor={"sub": "user_admin"}), how)
    for person in (ada, bare):
        clerk.delete_user(person)
    clerk.delete_organization(acme)
    types = set[str]()
    for delivery in clerk.deliveries():
        event = json.loads(delivery.body)
        types.add(event["type"])
        assert faults("Event", event) == []
        assert faults(EVENTS[event["type"]], event["data"], event["type"]) == []
    assert types == set(EVENTS)


def test_a_record_of_somebody_is_what_clerk_would_say() -> None:
    """`clerk.record(user)` has all that a webhook would tell, the verified address too."""
    clerk = FakeClerk(7)
    people = [
        clerk.create_user("ada@example.com", first_name="Ada", username="ada", external_id="7", banned=True),
        clerk.create_user("bob@example.com", verified=False, public_metadata={"role": "admin"}),
        clerk.create_user(),
    ]
    for person in people:
        (told,) = records_of("user", clerk.instance.name, clerk.shape(person), NOW)
        assert clerk.record(person).said() == told.said()
    assert clerk.record(people[0]).email_verified
    assert not clerk.record(people[0], banned=False).banned


def test_a_fault_is_found() -> None:
    """Each kind of it, so that silence means something."""
    clerk = FakeClerk(8)
    good = clerk.shape(clerk.create_user("ada@example.com"))
    assert faults("User", good) == []
    wrong: dict[str, Any] = {
        "User.nickname is unknown": good | {"nickname": None},
        "User.banned is missing": {name: value for name, value in good.items() if name != "banned"},
        "User.banned is no bool": good | {"banned": 1},
        "User.created_at is no int": good | {"created_at": True},
        "User.id is no text": good | {"id": None},
        "User.object is another text": good | {"object": "person"},
        "User.email_addresses is no list": good | {"email_addresses": {}},
        "User.email_addresses is no object": good | {"email_addresses": [None]},
        "User.scim.directory_id is missing": good | {"scim": {"external_id": None}},
    }
    for fault, value in wrong.items():
        assert faults("User", value) == [fault]
    assert faults_of_type("~key_id", "ak_1", "id") == ["id is not written like a key_id"]


# Ids, which the descriptions call text, as Clerk writes them; and values that JSON has and databases do not like.
IDS = {
    "User.id": "user",
    "Organization.id": "org",
    "Membership.id": "orgmem",
    "Member.user_id": "user",
    "ToldSession.id": "sess",
    "ToldSession.user_id": "user",
}
TEXTS = st.one_of(st.sampled_from(["", "a", "\x00", "\ud800", "x" * 1_001, "org:admin"]), st.text(max_size=5))
NUMBERS = st.one_of(st.sampled_from([0, 1, NOW, NOW * 1000, -1, 2**63]), st.integers(0, 10**16))
JSON = st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.booleans(), TEXTS, NUMBERS), max_size=2)


def values_of(kind: str, name: str, depth: int = 2) -> st.SearchStrategy[Any]:
    """Values that a type admits."""
    if kind.endswith("?"):
        return st.none() | values_of(kind[:-1], name, depth)
    if kind.startswith("["):
        return st.lists(values_of(kind[1:-1], name, depth - 1), max_size=2 if depth > 0 else 0)
    if kind.startswith("="):
        return st.sampled_from(kind[1:].split("/"))
    if kind.startswith("~"):
        return st.from_regex(PATTERNS[kind[1:]], fullmatch=True)
    if name in IDS:
        return st.sampled_from([f"{IDS[name]}_{letter * 27}" for letter in "ab"])
    plain = {"text": TEXTS, "int": NUMBERS, "number": NUMBERS, "bool": st.booleans(), "object": JSON, "any": JSON}
    if kind in plain:
        return plain[kind]
    return st.one_of(*(objects_of(each, depth - 1) for each in kind.split("|")))


@cache
def objects_of(schema: str, depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that a schema admits: each field that may be missing or null is, now and then."""
    needed, optional = dict[str, Any](), dict[str, Any]()
    for name, (must_be, kind) in fields_of(schema).items():
        (needed if must_be else optional)[name] = values_of(kind, f"{schema}.{name}", depth)
    return st.fixed_dictionaries(needed, optional=optional)


@settings(max_examples=25)
@pytest.mark.parametrize("type", [type for type, schema in EVENTS.items() if "Invitation" not in schema])
@given(data=st.data())
def test_every_event_that_the_descriptions_allow_is_read(type: str, data: st.DataObject) -> None:
    """Nothing in it is unreadable, but a deletion that does not say of what."""
    said = data.draw(objects_of(EVENTS[type]))
    assert faults(EVENTS[type], said) == []
    if type.endswith(".deleted") and EVENTS[type] == "Deleted" and "id" in said:
        said["id"] = f"{'user' if type.startswith('user') else 'org'}_{'a' * 27}"
    event = {"object": "event", "type": type, "data": said, "timestamp": NOW * 1000, "instance_id": "ins_1"}
    parsed = parse_event(json.dumps(event))
    nameless = (EVENTS[type] == "Deleted" and "id" not in said) or (
        type == "organizationMembership.deleted" and not said.get("public_user_data")
    )
    if nameless:
        with pytest.raises(Unreadable):
            parsed.records("i")
    else:
        assert parsed.records("i")


@settings(max_examples=25)
@pytest.mark.parametrize(
    ("schema", "question"),
    [
        ("[User]", endpoints.users()),
        ("User", endpoints.user("user_1")),
        ("Organizations", endpoints.organizations()),
        ("Memberships", endpoints.memberships()),
        ("Count", endpoints.user_count()),
        ("Keys", endpoints.jwks()),
        ("ApiKey", endpoints.verify_api_key("x")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@given(data=st.data())
def test_every_answer_that_the_descriptions_allow_is_read(
    schema: str, question: endpoints.ClerkRequest[Any], data: st.DataObject
) -> None:
    """By the question that it answers: all that it says is returned. A count is never below nought."""
    said = data.draw(values_of(schema, ""))
    count = said.get("total_count", 0) if isinstance(said, dict) else 0
    if count < 0:
        said["total_count"] = 0
    found, told = question.read(json.loads(json.dumps(said))), json.loads(json.dumps(said))
    if isinstance(found, endpoints.Page):
        assert (found.rows, found.total) == (told["data"], told["total_count"])
    else:
        assert found == (told["total_count"] if schema == "Count" else told)


@settings(max_examples=25)
@pytest.mark.parametrize(("prefix", "schema"), [("ak", "ApiKey"), ("mt", "MachineToken"), ("oat", "OauthToken")])
@given(data=st.data())
def test_every_opaque_token_that_the_descriptions_allow_is_read(prefix: Any, schema: str, data: st.DataObject) -> None:
    """What Clerk says of it is taken, or the token is refused for what it says."""
    said = data.draw(objects_of(schema)) | {"created_at": NOW * 1000, "updated_at": NOW * 1000}
    try:
        vouched = read_answer(prefix, json.loads(json.dumps(said)), "https://clerk.example.com", NOW, 300)
    except (TokenUnknown, TokenExpired):
        assert said["revoked"] or said["expired"] or said["expiration"] is not None
    except ClaimInvalid:
        assert said["subject"].startswith("mch_")
    except ValueError:  # a time that is none, or half of a character
        assert said["expiration"] is not None or "\\ud800" in json.dumps(said)
    else:
        assert vouched.payload["sub"] == said["subject"]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_are_read(path: Path) -> None:
    """All events among them, also those that no description allows; those that one allows are as described."""
    said = json.loads(path.read_bytes())
    if "type" not in said:
        pytest.skip("it is no event")
    event = parse_event(path.read_bytes())
    nobody = event.type.startswith("organizationMembership") and not said["data"].get("public_user_data")
    if event.is_mirrored and not (nobody and event.type.endswith("deleted")):
        assert {record.grade > FROM_TOKEN for record in event.records("i")} == {True}
    if event.type in EVENTS and path.parent.name == "samples" and "Invitation" not in EVENTS[event.type]:
        told = {name: value for name, value in said["data"].items() if (name, value) != ("latest_activity", None)}
        assert faults(EVENTS[event.type], told) == []


def test_the_table_is_whole() -> None:
    """Each type that it names is in it."""
    names = set[str]()
    for schema in SCHEMAS:
        for _, kind in fields_of(schema).values():
            bare = kind.strip("[]?")
            if not re.match("[=~]", bare):
                names |= set(bare.split("|"))
    assert names <= {*SCHEMAS, "text", "int", "number", "bool", "object", "any"}
