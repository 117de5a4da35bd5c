"""An instance's secrets, parties, audiences, keys and environment: what is taken, and what is refused at once."""

import logging
import traceback
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import pytest

from clerkmap import ConfigurationError, Instance, Verifier
from clerkmap.errors import PartyRefused
from clerkmap.testing import FakeClerk

CLERK = FakeClerk(1)
ISSUER = "https://idp.example"
PARTY = "https://app.example.com"
SECRET = "sk_test_" + "canary4" * 6
WEBHOOK = "whsec_" + b64encode(b"canary" * 4).decode()


def refusal(**settings: Any) -> str:
    """What an instance of these settings is refused with, as a log would show it."""
    with pytest.raises(ConfigurationError) as caught:
        Instance(**settings)
    return "".join(traceback.format_exception(caught.value)) + repr(caught.value)


@pytest.mark.parametrize("key", ["sk_test_" + "a1" * 5, "sk_test_" + "A" * 200, SECRET])
def test_secret_keys_that_are_taken(key: str) -> None:
    """Those of the publishable key's environment; of either, where there is none."""
    assert CLERK.make_instance(secret_key=key).secret_key == key
    assert Instance(issuer=ISSUER, secret_key=key.replace("test", "live")).secret_key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "sk_test_",
        "sk_test_...",
        "sk_test_canary",
        "canary4" * 6,
        "pk_test_" + "canary4" * 6,
        "sk_prod_" + "canary4" * 6,
        "SK_TEST_" + "canary4" * 6,
        SECRET + "\n",
        " " + SECRET,
        f'"{SECRET}"',
        f"Bearer {SECRET}",
        SECRET + "\u00e4",
        SECRET + "c" * 200,
        SECRET.encode(),
        5,
    ],
    ids=ascii,
)
def test_secret_keys_that_are_refused(key: Any) -> None:
    """Without repeating them."""
    told = refusal(issuer=ISSUER, secret_key=key)
    assert "secret_key must be sk_test_ or sk_live_" in told
    assert "canary" not in told


def test_a_secret_key_of_the_other_environment() -> None:
    """The classic of deployments: the live page with the test secret."""
    told = refusal(publishable_key=CLERK.publishable_key, secret_key=SECRET.replace("test", "live"))
    assert "different environments" in told
    assert "canary" not in told


@pytest.mark.parametrize("size", [24, 32, 64])
@pytest.mark.parametrize("strip", ["", "="])
def test_webhook_secrets_that_are_taken(size: int, strip: str) -> None:
    """Several while they are rotated, padded or not."""
    secret = ("whsec_" + b64encode(b"\xff" * size).decode()).rstrip(strip)
    assert list(CLERK.make_instance(webhook_secrets=[secret, WEBHOOK]).webhook_secrets) == [secret, WEBHOOK]


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_!!!!",
        "whsec_AA==",
        "whsec_...",
        "whsec_your_signing_secret",
        "whsec_" + b64encode(b"c" * 23).decode(),
        "whsec_" + b64encode(b"c" * 65).decode(),
        "whsec_" + b64encode(b"c" * 33).decode().replace("=", "") + "A=A",
        "whsec_-_" + "c" * 30,
        "whsec_" + "c" * 33,
        f"v1,{WEBHOOK}",
        f"{WEBHOOK}\n",
        f" {WEBHOOK}",
        f"{WEBHOOK},{WEBHOOK}",
        f"{WEBHOOK}\u00e4",
        WEBHOOK.removeprefix("whsec_"),
        WEBHOOK.upper(),
        WEBHOOK.encode(),
        None,
    ],
    ids=ascii,
)
def test_webhook_secrets_that_are_refused(secret: Any) -> None:
    """An empty key would let anybody sign. The text says what is expected and repeats nothing."""
    told = refusal(issuer=ISSUER, webhook_secrets=[WEBHOOK, secret])
    assert "webhook secret must be whsec_" in told or "webhook_secrets must be a list" in told
    assert WEBHOOK[6:] not in told
    assert len(str(secret)) < 8 or str(secret) not in told


@pytest.mark.parametrize(
    "party", [PARTY, "http://localhost:3000", "https://app.example.com:8443", "chrome-extension://abcdef", "tauri://x"]
)
def test_parties_that_are_taken(party: str) -> None:
    """Origins as browsers write them."""
    assert CLERK.make_instance(authorized_parties=[party]).parties == {party}


@pytest.mark.parametrize(
    "party",
    [
        "",
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/login",
        "https://App.example.com",
        "HTTPS://app.example.com",
        "https://",
        "https://user@app.example.com",
        "https://app.example.com?x",
        "https://app.example.com#x",
        "https://app.example.com\n",
        " https://app.example.com",
        "https://app.example.com https://b.example",
        "null",
        "*",
        "https://*.example.com",
        "https://app.example.com:443",
        "https://a.example.com,https://b.example.com",
        "https://höst.example.com",
        b"https://app.example.com",
        None,
    ],
    ids=ascii,
)
def test_parties_that_could_never_match(party: Any) -> None:
    """Compared to the letter, they would shut everybody out; better at construction than at noon."""
    assert "authorized_parties" in refusal(issuer=ISSUER, authorized_parties=[PARTY, party])


@pytest.mark.parametrize("empty", [[], (), {}, iter(())], ids=["list", "tuple", "dict", "iterator"])
def test_an_empty_list_of_parties_is_no_way_to_turn_the_check_off(empty: Any) -> None:
    """Left out, the list means every front end; empty, it is a mistake."""
    assert "authorized_parties is empty" in refusal(issuer=ISSUER, authorized_parties=empty)


@pytest.mark.parametrize("name", ["authorized_parties", "extra_issuers", "webhook_secrets"])
@pytest.mark.parametrize("value", [PARTY, "", 5, b"https://a"], ids=ascii)
def test_one_string_is_no_list(name: str, value: Any) -> None:
    """Read letter by letter it would match nothing."""
    assert f"{name} must be a list of non-empty strings" in refusal(issuer=ISSUER, **{name: value})


@pytest.mark.parametrize("form", [list, tuple, set, frozenset, iter])
def test_any_collection_counts(form: Any) -> None:
    """Even one that can only be read once: what was given is never silently dropped."""

    def given(*values: str) -> Iterable[str]:
        made: Iterable[str] = form(values)
        return made

    instance = CLERK.make_instance(
        authorized_parties=given("https://other.example"),
        audience=given("api"),
        extra_issuers=given(ISSUER),
        webhook_secrets=given(WEBHOOK),
    )
    assert instance.parties == {"https://other.example"}
    assert instance.audiences == {"api"}
    assert instance.issuers == {CLERK.issuer, ISSUER}
    assert list(instance.webhook_secrets) == [WEBHOOK]
    with pytest.raises(PartyRefused):
        Verifier(instance).verify(CLERK.token(CLERK.create_user(), claims={"aud": "api"}))


@pytest.mark.parametrize(
    ("expected", "audience"), [(set[str](), None), ({"api"}, "api"), ({"a", "b"}, ["a", "b"]), ({"a"}, ("a", "a"))]
)
def test_audiences(expected: set[str], audience: Any) -> None:
    """None, one or several."""
    assert CLERK.make_instance(audience=audience).audiences == expected


@pytest.mark.parametrize("audience", ["", [""], ["a", None], [5], 5, b"api"], ids=ascii)
def test_audiences_that_are_refused(audience: Any) -> None:
    """What can be no audience is a slip."""
    assert "audience must be" in refusal(issuer=ISSUER, audience=audience)


@pytest.mark.parametrize("jwks", [{}, {"keys": []}, {"keys": {}}, {"keys": [{}]}, [], "{}", "", [CLERK.key.jwk()]])
def test_a_jwks_without_a_key_is_refused(jwks: Any) -> None:
    """Or text where the parsed document is meant."""
    assert "jwks" in refusal(issuer=ISSUER, jwks=jwks)


def test_a_jwks_for_other_algorithms_is_refused() -> None:
    """Clerk signs with RS256."""
    told = refusal(issuer=ISSUER, jwks=FakeClerk(1, algorithm="ES256").jwks())
    assert "no public signing key for RS256" in told


@pytest.mark.parametrize("jwt_key", ["", " ", "\n"])
def test_an_empty_jwt_key_is_refused(jwt_key: str) -> None:
    """An environment variable that is there and empty is no wish to fetch."""
    assert "jwt_key is empty" in refusal(issuer=ISSUER, jwt_key=jwt_key)


@pytest.mark.parametrize(
    ("expected", "settings"),
    [
        ("algorithms must be one or more of RS256, ES256, ES384, EdDSA", {"algorithms": ["HS256"]}),
        ("algorithms must be one or more of", {"algorithms": ["RS256", "none"]}),
        ("algorithms must be one or more of", {"algorithms": []}),
        ("algorithms must be a list", {"algorithms": "RS256"}),
        ("needs audience=", {"audience": []}),
        ("needs audience=", {"audience": ""}),
        ("audience must be", {"audience": [""]}),
        ("issuer must be a plain https:// URL", {"issuer": "idp.example"}),
        ("issuer", {"issuer": ""}),
    ],
)
def test_oidc_rules(expected: str, settings: dict[str, Any]) -> None:
    """Another provider needs an audience, and algorithms with public keys."""
    with pytest.raises(ConfigurationError, match=expected):
        Instance.oidc(**({"issuer": ISSUER, "audience": "api"} | settings))


@pytest.mark.parametrize("form", [list, tuple, set, iter])
def test_oidc(form: Any) -> None:
    """What another provider's instance looks like."""
    algorithms = form(["ES256", "EdDSA"])
    instance = Instance.oidc(issuer=f"{ISSUER}/", audience="api", algorithms=algorithms, authorized_parties=[PARTY])
    assert not instance.is_clerk
    assert instance.algorithms == {"ES256", "EdDSA"}
    assert instance.jwks_url is None
    assert instance.audiences == {"api"}
    assert instance.parties == {PARTY}
    assert (instance.issuer, instance.name, instance.kind) == (f"{ISSUER}/", "idp.example", None)
    assert Instance.oidc(issuer=ISSUER, audience="a", jwks_url="https://k.example/").jwks_url == "https://k.example/"


def test_no_repr_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Nor str, nor a log line with the instance in it."""
    instance = CLERK.make_instance(secret_key=SECRET, webhook_secrets=[WEBHOOK])
    with caplog.at_level(logging.INFO):
        logging.getLogger("app").info("%s %r", instance, instance)
    shown = f"{instance} {instance!r} {[instance]} {caplog.text}"
    assert instance.name in shown
    assert "canary" not in shown
    assert WEBHOOK[6:] not in shown


@pytest.mark.parametrize("instance_id", ["", "ins_", "ins_a b", "user_abc", "ins_" + "a" * 65], ids=ascii)
def test_an_instance_id_is_written_as_clerk_writes_it(instance_id: str) -> None:
    """A placeholder would refuse every webhook."""
    assert "instance_id" in refusal(issuer=ISSUER, instance_id=instance_id)
