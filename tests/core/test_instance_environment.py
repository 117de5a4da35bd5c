"""Settings read from Clerk's own environment variables."""

from typing import Any

import pytest

from clerkmap import ConfigurationError, Instance
from clerkmap.testing import FakeClerk

CLERK = FakeClerk(1)
SECRET = "sk_test_" + "canary4" * 6
WEBHOOKS = ["whsec_" + letter * 32 for letter in "AB"]
PARTIES = ["https://a.example", "https://b.example"]
FULL = {
    "CLERK_PUBLISHABLE_KEY": CLERK.publishable_key,
    "CLERK_SECRET_KEY": SECRET,
    "CLERK_API_URL": "http://127.0.0.1:4400",
    "CLERK_JWT_KEY": CLERK.key.pem().replace("\n", "\\n"),
    "CLERK_WEBHOOK_SIGNING_SECRET": ",".join(WEBHOOKS),
    "CLERK_AUTHORIZED_PARTIES": ",".join(PARTIES),
}


def test_all_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the process's environment, unless another is given."""
    for name, value in FULL.items():
        monkeypatch.setenv(name, value)
    for instance in (Instance.from_env(), Instance.from_env(FULL)):
        assert (instance.issuer, instance.secret_key, instance.kind) == (CLERK.issuer, SECRET, "test")
        assert (list(instance.webhook_secrets), instance.parties) == (WEBHOOKS, frozenset(PARTIES))
        assert instance.local_keys is not None
        assert instance.api_url == "http://127.0.0.1:4400"
    for name in FULL:
        monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match="set CLERK_PUBLISHABLE_KEY"):
        Instance.from_env()


@pytest.mark.parametrize("empty", ["", " ", "\n", None])
def test_an_empty_variable_is_absent(empty: str | None) -> None:
    """Docker and CI set variables they have no value for."""
    blank = {} if empty is None else dict.fromkeys(FULL, empty)
    instance = Instance.from_env(blank | {"CLERK_PUBLISHABLE_KEY": CLERK.publishable_key})
    assert (instance.secret_key, instance.jwt_key, instance.local_keys) == (None, None, None)
    assert instance.api_url == "https://api.clerk.com"
    assert (tuple(instance.webhook_secrets), instance.parties) == ((), frozenset())
    with pytest.raises(ConfigurationError, match="set CLERK_PUBLISHABLE_KEY"):
        Instance.from_env(blank)


@pytest.mark.parametrize("written", [" {} , {} ", "{},{},", ",{},,{}", "{}\n,{}\n"])
def test_commas_and_blanks(written: str) -> None:
    """As people write lists."""
    environ = FULL | {
        "CLERK_WEBHOOK_SIGNING_SECRET": written.format(*WEBHOOKS),
        "CLERK_AUTHORIZED_PARTIES": written.format(*PARTIES),
        "CLERK_PUBLISHABLE_KEY": f" {CLERK.publishable_key}\n",
        "CLERK_SECRET_KEY": f"{SECRET}\n",
    }
    instance = Instance.from_env(environ)
    assert (list(instance.webhook_secrets), instance.parties) == (WEBHOOKS, frozenset(PARTIES))
    assert (instance.publishable_key, instance.secret_key) == (CLERK.publishable_key, SECRET)


@pytest.mark.parametrize(
    ("expected", "overrides"),
    [
        ({"name": "production"}, {"name": "production"}),
        ({"parties": {"https://c.example"}}, {"authorized_parties": ["https://c.example"]}),
        ({"parties": set[str]()}, {"authorized_parties": None}),
        ({"secret_key": None}, {"secret_key": None}),
        ({"api_url": "https://api.example"}, {"api_url": "https://api.example/v1"}),
        ({"issuer": "https://proxy.example"}, {"issuer": "https://proxy.example"}),
        ({"audiences": {"api"}}, {"audience": "api"}),
        ({"frontend_api": FakeClerk(2).frontend_api}, {"publishable_key": FakeClerk(2).publishable_key}),
    ],
)
def test_keyword_arguments_win(expected: dict[str, Any], overrides: dict[str, Any]) -> None:
    """What the code says counts, and what it does not say comes from the environment."""
    instance = Instance.from_env(FULL, **overrides)
    assert {name: getattr(instance, name) for name in expected} == expected


def test_an_issuer_will_do() -> None:
    """Without a publishable key, an issuer given in the code is enough."""
    assert Instance.from_env({}, issuer="https://idp.example").issuer == "https://idp.example"


@pytest.mark.parametrize(
    ("expected", "name", "value"),
    [
        ("publishable_key must be", "CLERK_PUBLISHABLE_KEY", "pk_test_canary"),
        ("secret_key must be", "CLERK_SECRET_KEY", "sk_test_canary!"),
        ("different environments", "CLERK_SECRET_KEY", SECRET.replace("test", "live")),
        ("api_url must be", "CLERK_API_URL", "http://canary.example"),
        ("jwt_key", "CLERK_JWT_KEY", "canary"),
        ("a webhook secret must be", "CLERK_WEBHOOK_SIGNING_SECRET", f"{WEBHOOKS[0]},whsec_canary"),
        ("authorized_parties must be", "CLERK_AUTHORIZED_PARTIES", "https://canary.example/"),
    ],
)
def test_a_wrong_variable_is_refused(expected: str, name: str, value: str) -> None:
    """By the same rules, naming what is wrong and repeating nothing."""
    with pytest.raises(ConfigurationError, match=expected) as caught:
        Instance.from_env(FULL | {name: value})
    assert "canary" not in str(caught.value)
