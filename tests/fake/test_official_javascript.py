"""Clerk's official client for JavaScript takes the tokens and webhooks of the made-up Clerk for real ones."""

import json
from collections.abc import Generator
from typing import Any

import pytest

from clerkmap import Verifier
from clerkmap.errors import UnknownKey
from clerkmap.testing import FakeClerk
from node_client import NodeClient, node_client
from official_javascript import Official, official_client, refused


@pytest.fixture(scope="module")
def node() -> Generator[NodeClient]:
    """One process of Node for all tests here."""
    with node_client() as client:
        yield client


@pytest.fixture
def official(node: NodeClient) -> Generator[Official]:
    """A Clerk of its own for each test."""
    with official_client(node) as official:
        yield official


# Tokens


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("keys", ["fetched", "known"])
def test_verify_token(official: Official, version: int, keys: str) -> None:
    """`verifyToken` reads a token with the keys that it fetches, and with the one that it is given."""
    clerk, user, acme = official.clerk, official.user, official.acme
    token = clerk.token(user, acme, version=version, permissions=["org:invoices:read"])
    claims = official.verify(token, **getattr(official, keys))
    assert claims == clerk.verifier().verify(token).payload
    assert claims["sub"] == user.id


def test_verify_token_refuses(official: Official) -> None:
    """For the reasons that the client gives at Clerk, too."""
    clerk, user = official.clerk, official.user
    stranger = FakeClerk(seed=48, kid=clerk.key.kid)
    reasons = {
        "token-expired": clerk.token(user, expires_in=-60),
        "token-not-active-yet": clerk.token(user, claims={"nbf": int(clerk.clock()) + 600}),
        "token-invalid-signature": stranger.token(stranger.create_user()),
        "token-invalid-algorithm": clerk.token(user, header={"alg": "HS256"}),
        "token-invalid": clerk.machine_token(),
        "jwk-kid-mismatch": clerk.token(user, header={"kid": "ins_other"}),
    }
    assert {reason: refused(official.verify, token)["reason"] for reason, token in reasons.items()} == {
        reason: reason for reason in reasons
    }


def test_a_token_that_names_no_key(official: Official) -> None:
    """It is tried with a key that was pasted, which has no name, and refused where keys have names."""
    clerk, token = official.clerk, official.clerk.token(official.user, header={"kid": None})
    pasted = Verifier(clerk.make_instance(jwks=None, jwt_key=clerk.key.pem()), clock=clerk.clock)
    assert pasted.verify(token).subject == official.user.id
    assert official.verify(token, **official.known)["sub"] == official.user.id
    with pytest.raises(UnknownKey):
        clerk.verifier().verify(token)
    assert refused(official.verify, token)["reason"] == "jwk-kid-mismatch"


def test_a_wrong_secret_key(official: Official) -> None:
    """Keys are handed out to who has the secret key."""
    options = {**official.fetched, "secretKey": "sk_test_wrong"}
    assert refused(official.verify, official.clerk.token(official.user), **options)["reason"] == "secret-key-invalid"


def test_a_key_that_is_replaced(official: Official) -> None:
    """The new key is there as soon as the client asks for it. It asks every five minutes, or when it is told to."""
    clerk = official.clerk
    official.verify(clerk.token(official.user))
    clerk.rotate_key()
    token = clerk.token(official.user)
    assert refused(official.verify, token)["reason"] == "token-invalid-signature"
    assert official.verify(token, **official.fetched, skipJwksCache=True)["sub"] == official.user.id


def test_authenticate_a_request_by_its_header(official: Official) -> None:
    """A signed-in person, with organization, role and permissions."""
    clerk, user, acme = official.clerk, official.user, official.acme
    session = clerk.sign_in(user, acme)
    token = clerk.token(user, acme, session=session, permissions=["org:invoices:read"])
    state = official.bearer(token)
    expected = {"status": "signed-in", "isAuthenticated": True, "userId": user.id, "sessionId": session.id}
    expected |= {"orgId": acme.id, "orgRole": "org:admin", "orgSlug": "acme", "orgPermissions": ["org:invoices:read"]}
    assert {name: state.get(name) for name in expected} == expected


@pytest.mark.parametrize("suffixed", [False, True])
def test_authenticate_a_request_by_its_cookies(official: Official, suffixed: bool) -> None:
    """As a browser sends them, with the suffix of the instance or without."""
    clerk = official.clerk
    suffix = f"_{clerk.instance.cookie_suffix}" if suffixed else ""
    cookies = {"__session": clerk.token(official.user), "__client_uat": str(int(clerk.clock()) - 60)}
    cookies |= {"__clerk_db_jwt": "dvb_of_this_browser"}
    header = "; ".join(f"{name}{suffix}={value}" for name, value in cookies.items())
    state = official.authenticate({"cookie": header})
    assert (state["status"], state["userId"]) == ("signed-in", official.user.id)


def test_requests_that_are_not_signed_in(official: Official) -> None:
    """Nobody, a pending session, a foreign party, an expired token, and a kind of token that signs nobody in."""
    clerk, user = official.clerk, official.user
    assert official.authenticate({})["status"] == "signed-out"
    assert official.bearer(clerk.token(user, pending=True))["isAuthenticated"] is False
    reasons = {
        "token-invalid-authorized-parties": clerk.token(user, party="https://evil.example"),
        "session-token-expired-refresh-non-eligible-no-refresh-cookie": clerk.token(user, expires_in=-60),
        "token-type-mismatch": clerk.template_token(user),
    }
    assert {reason: official.bearer(token)["reason"] for reason, token in reasons.items()} == {
        reason: reason for reason in reasons
    }


def test_impersonation(official: Official) -> None:
    """The client sees who is really acting."""
    state = official.bearer(official.clerk.token(official.user, actor="user_support"))
    assert (state["userId"], state["actor"]["sub"]) == (official.user.id, "user_support")


def test_machines_and_oauth_clients(official: Official) -> None:
    """Tokens in JWT form, where the application accepts their kind."""
    clerk = official.clerk
    machine = official.bearer(clerk.machine_token(scopes=["mch_a", "mch_b"]), acceptsToken="m2m_token")
    assert (machine["isAuthenticated"], machine["scopes"]) == (True, ["mch_a", "mch_b"])
    oauth = official.bearer(clerk.oauth_token(official.user, scopes=["profile"]), acceptsToken="oauth_token")
    assert (oauth["userId"], oauth["scopes"]) == (official.user.id, ["profile"])


def test_opaque_tokens(official: Official) -> None:
    """API keys, machine and OAuth tokens of which only the API can tell anything; revoked, they are refused."""
    clerk, user = official.clerk, official.user
    tokens = {
        "api_key": clerk.create_api_key(user, scopes=["a"]),
        "m2m_token": clerk.create_machine_token(scopes=["a"]),
        "oauth_token": clerk.create_oauth_token(user, scopes=["a"]),
    }
    for kind, token in tokens.items():
        state = official.bearer(token.secret, acceptsToken=kind)
        assert (state["isAuthenticated"], state["subject"], state["scopes"]) == (True, token.subject, ["a"])
        clerk.revoke_machine_token(token)
        assert official.bearer(token.secret, acceptsToken=kind)["status"] == "signed-out"


# Webhooks


def everything_that_happens(clerk: FakeClerk) -> None:
    """One of each kind of event, or nearly."""
    ada, grace = clerk.create_user("a@example.com"), clerk.create_user("g@example.com", first_name="Gräce 😀")
    clerk.update_user(ada, first_name="Ada")
    acme = clerk.create_organization("Acme & Söhne", created_by=ada)
    clerk.accept_invitation(clerk.invite(acme, "g@example.com", inviter=ada))
    clerk.revoke_invitation(clerk.invite(acme, "new@example.com"))
    clerk.end_session(clerk.sign_in(ada, acme))
    clerk.ban(grace)
    clerk.remove_member(acme, grace)
    clerk.delete_organization(acme)
    clerk.delete_user(ada)


def test_verify_webhook(node: NodeClient) -> None:
    """`verifyWebhook` takes each delivery, and gives the event that was sent."""
    clerk = FakeClerk(seed=47)
    everything_that_happens(clerk)
    seen = set[str]()
    for delivery in clerk.deliveries(shuffle=True, duplicate=0.3):
        event = webhook(node, delivery.headers, delivery.body.decode(), clerk.webhook_secret)
        assert event == json.loads(delivery.body)
        seen.add(event["type"])
    assert len(seen) >= 12


def test_verify_webhook_while_the_secret_is_replaced(node: NodeClient) -> None:
    """Deliveries are signed with both secrets, and each of the two is enough."""
    clerk = FakeClerk(seed=47)
    old, new = clerk.webhook_secret, clerk.rotate_webhook_secret()
    clerk.create_user()
    (delivery,) = clerk.deliveries()
    for secret in (old, new):
        assert webhook(node, delivery.headers, delivery.body.decode(), secret)["type"] == "user.created"


def test_verify_webhook_refuses(node: NodeClient) -> None:
    """What was signed with another secret, was changed, or is too old."""
    clerk = FakeClerk(seed=47)
    clerk.create_user()
    (delivery,) = clerk.deliveries()
    body = delivery.body.decode()
    clerk.clock.advance(-600)
    old = clerk.wire.sign(delivery.message)
    refused(webhook, node, delivery.headers, body, FakeClerk(seed=48).webhook_secret)
    refused(webhook, node, delivery.headers, body.replace("created", "updated"), clerk.webhook_secret)
    assert "too old" in refused(webhook, node, old, body, clerk.webhook_secret)["message"]


def webhook(node: NodeClient, headers: dict[str, str], body: str, secret: str) -> Any:
    """What `verifyWebhook` makes of a request."""
    request = {"method": "POST", "headers": headers, "body": body}
    return node.ask("verifyWebhook", request=request, options={"signingSecret": secret})
