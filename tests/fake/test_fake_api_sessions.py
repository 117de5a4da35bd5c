"""The API of sessions and their tokens, and of what machines' tokens are worth."""

import pytest

from clerkmap import TokenError, Verifier
from clerkmap.testing import Clock, FakeClerk, FakeMachineToken
from fake_api_world import client_of, ids, refusal


def test_sessions_are_listed_for_somebody() -> None:
    """For a person or a client, which has to be said; by status; and as Clerk's clients ask for it, with a total."""
    clerk = FakeClerk()
    ada = clerk.create_user(username="ada")
    first, second = clerk.sign_in(ada), clerk.sign_in(ada)
    clerk.sign_in(clerk.create_user(username="bob"))
    clerk.end_session(first)
    with client_of(clerk) as client:
        assert refusal(client.get("/sessions")) == (422, "form_param_missing")
        assert ids(client.get(f"/sessions?user_id={ada.id}")) == [second.id, first.id]
        assert ids(client.get(f"/sessions?client_id={first.client_id}")) == [first.id]
        assert ids(client.get(f"/sessions?user_id={ada.id}&status=active")) == [second.id]
        counted = client.get(f"/sessions?user_id={ada.id}&paginated=true&limit=1").json()
        assert ([each["id"] for each in counted["data"]], counted["total_count"]) == ([second.id], 2)
        assert isinstance(client.get(f"/sessions?user_id={ada.id}").json(), list)


def test_a_token_is_made_without_a_browser() -> None:
    """A session, and from it a token that clerkmap verifies: for that session, organization and time."""
    clerk = FakeClerk(clock=Clock(1_800_000_000))
    ada = clerk.create_user(username="ada")
    acme = clerk.create_organization("Acme", created_by=ada)
    with client_of(clerk) as client:
        session = client.post("/sessions", json={"user_id": ada.id, "active_organization_id": acme.id}).json()
        assert client.get(f"/sessions/{session['id']}").json() == session
        made = client.post(f"/sessions/{session['id']}/tokens").json()
        assert made["object"] == "token"
        claims = clerk.verifier().verify(made["jwt"])
        assert (claims.subject, claims.session_id, claims.expires_at) == (ada.id, session["id"], 1_800_000_060)
        assert claims.organization is not None
        assert (claims.organization.id, claims.organization.role) == (acme.id, "org:admin")
        path = f"/sessions/{session['id']}/tokens"
        assert clerk.verifier().verify(client.post(path, json={"expires_in_seconds": 30}).json()["jwt"]).expires_at == (
            1_800_000_030
        )
        for seconds in (29, 315_360_001, "60"):
            assert refusal(client.post(path, json={"expires_in_seconds": seconds}))[0] == 422
        templated = client.post(f"{path}/hasura", json={"expires_in_seconds": 600}).json()["jwt"]
        with pytest.raises(TokenError):  # it signs nobody in
            clerk.verifier().verify(templated)
        assert client.post(f"/sessions/{session['id']}/revoke").json()["status"] == "revoked"
        for other in (path, f"{path}/hasura", "/sessions/sess_nothing/tokens"):
            assert refusal(client.post(other)) == (404, "resource_not_found")


def test_who_acts_for_somebody_and_what_is_pending_stand_in_the_token() -> None:
    """A session's actor and its state go into the tokens that are made from it."""
    clerk = FakeClerk()
    actor = {"sub": "user_support", "iss": "https://dashboard.clerk.com"}
    session = clerk.sign_in(clerk.create_user(username="ada"), actor=actor, pending=True)
    with client_of(clerk) as client:
        jwt = client.post(f"/sessions/{session.id}/tokens").json()["jwt"]
    claims = Verifier(clerk.instance, allow_pending=True).verify(jwt)
    assert claims.actor is not None
    assert (claims.actor.id, claims.pending) == ("user_support", True)


def test_who_is_banned_gets_no_session() -> None:
    """Nor does who is not there."""
    clerk = FakeClerk()
    ada = clerk.create_user(username="ada")
    clerk.ban(ada)
    with client_of(clerk) as client:
        assert refusal(client.post("/sessions", json={"user_id": ada.id})) == (403, "user_banned")
        assert refusal(client.post("/sessions", json={"user_id": "user_nobody"})) == (404, "resource_not_found")
        assert refusal(client.post("/sessions", json={})) == (422, "form_param_missing")


VERIFIED = {
    "api_key": ("/api_keys/verify", "secret"),
    "m2m_token": ("/m2m_tokens/verify", "token"),
    "oauth_token": ("/oauth_applications/access_tokens/verify", "access_token"),
}


def tokens_of(clerk: FakeClerk) -> list[FakeMachineToken]:
    """One token of each kind, for a minute."""
    ada = clerk.create_user(username="ada")
    return [
        clerk.create_api_key(ada, name="deploy", scopes=["a"], expires_in=60),
        clerk.create_machine_token(scopes=["mch_other"], expires_in=60),
        clerk.create_oauth_token(ada, expires_in=60),
    ]


def test_a_machines_token_is_described_while_it_is_good() -> None:
    """What is unknown, expired, revoked or of another kind is not found. None is ever told again."""
    clerk = FakeClerk(clock=Clock(1_800_000_000))
    tokens = tokens_of(clerk)
    with client_of(clerk) as client:
        for token in tokens:
            path, name = VERIFIED[token.kind]
            answer = client.post(path, json={name: token.secret})
            assert (answer.json()["id"], answer.json()["subject"]) == (token.id, token.subject)
            assert answer.json()["expiration"] == token.expires_at
            assert token.secret not in answer.text
            for other in tokens:
                if other is not token:
                    assert refusal(client.post(path, json={name: other.secret})) == (404, "resource_not_found")
            for said in ({}, {name: ""}, {name: 5}, {name: token.secret, "more": 1}):
                assert refusal(client.post(path, json=said))[0] == 400
        clerk.revoke_machine_token(tokens[0])
        clerk.clock.advance(61)
        for token in tokens:
            path, name = VERIFIED[token.kind]
            assert refusal(client.post(path, json={name: token.secret})) == (404, "resource_not_found")


def test_a_machines_token_is_verified_under_one_name_only() -> None:
    """What Clerk's client for Python says of machine tokens is refused, as at Clerk; OAuth tokens have an old name."""
    clerk = FakeClerk()
    _, machine, oauth = tokens_of(clerk)
    with client_of(clerk) as client:
        assert refusal(client.post("/m2m_tokens/verify", json={"secret": machine.secret})) == (
            400,
            "form_param_unknown",
        )
        path = "/oauth_applications/access_tokens/verify"
        assert client.post(path, json={"secret": oauth.secret}).json()["id"] == oauth.id


def test_tokens_that_are_jwts_are_read() -> None:
    """Those of the instance's own key. An OAuth token that is no good is inactive, which is a success."""
    clerk = FakeClerk()
    ada = clerk.create_user(username="ada")
    with client_of(clerk) as client:
        path = "/oauth_applications/access_tokens/verify"
        read = client.post(path, json={"access_token": clerk.oauth_token(ada, scopes=["a", "b"])}).json()
        assert (read["object"], read["subject"], read["scopes"]) == ("clerk_idp_oauth_access_token", ada.id, ["a", "b"])
        old = clerk.oauth_token(ada, claims={"iat": 1_600_000_000, "nbf": 1_600_000_000, "exp": 1_600_000_060})
        for bad in (old, FakeClerk(1).oauth_token(ada), clerk.token(ada), "not.a.jwt"):
            answer = client.post(path, json={"access_token": bad})
            assert (answer.status_code, answer.json()) == (200, {"active": False})
        machine = client.post("/m2m_tokens/verify", json={"token": clerk.machine_token(scopes=["mch_1"])}).json()
        assert (machine["object"], machine["scopes"]) == ("machine_to_machine_token", ["mch_1"])
        assert refusal(client.post("/m2m_tokens/verify", json={"token": clerk.token(ada)}))[0] == 404
