"""An instance: what a publishable key tells, which addresses are taken, and that no error repeats what was given."""

import dataclasses
import traceback
from base64 import b64encode
from typing import Any

import pytest

from clerkmap import ConfigurationError, Instance, Verifier
from clerkmap.errors import IssuerRefused
from clerkmap.testing import FakeClerk

CLERK = FakeClerk(1)
ISSUER = "https://idp.example"


def publishable(text: str | bytes, kind: str = "test") -> str:
    """A publishable key with any content."""
    return f"pk_{kind}_" + b64encode(text.encode() if isinstance(text, str) else text).decode()


def refusal(**settings: Any) -> str:
    """What an instance of these settings is refused with, as a log would show it."""
    with pytest.raises(ConfigurationError) as caught:
        Instance(**settings)
    return "".join(traceback.format_exception(caught.value)) + repr(caught.value)


@pytest.mark.parametrize(
    ("kind", "host", "suffix", "key"),
    [
        ("test", "clerk.clerk.dev", "QvfNY2dr", "pk_test_Y2xlcmsuY2xlcmsuZGV2JA"),
        ("test", "clerk.clerk.dev", "X-AJuTs9", "pk_test_Y2xlcmsuY2xlcmsuZGV2JA=="),
        ("live", "clerk.example.com", None, publishable("clerk.example.com$", "live")),
        ("live", "clerk.example.com", None, publishable("clerk.example.com$", "live").rstrip("=")),
        ("test", "a-1.b.clerk.accounts.dev", None, publishable("a-1.b.clerk.accounts.dev$")),
        ("test", "clerk.example.com:8443", None, publishable("clerk.example.com:8443$")),
    ],
)
def test_what_a_publishable_key_tells(kind: str, host: str, suffix: str | None, key: str) -> None:
    """The environment, the issuer, where its keys are, and the cookies' suffix, which hangs on every character."""
    instance = Instance(publishable_key=key)
    assert (instance.kind, instance.frontend_api, instance.name) == (kind, host, host)
    assert (instance.issuer, instance.issuers) == (f"https://{host}", frozenset({f"https://{host}"}))
    assert instance.jwks_url == f"https://{host}/.well-known/jwks.json"
    assert suffix in (None, instance.cookie_suffix)
    assert instance.cookie_suffix is not None
    assert len(instance.cookie_suffix) == 8
    assert instance.is_clerk
    assert instance.local_keys is None
    assert instance.algorithms == {"RS256"}


NOT_PUBLISHABLE: list[Any] = [
    "",
    " ",
    "pk_test_",
    "pk_live_",
    "pk_test_...",
    "pk_test_\u2026",
    "pk_test_xxxxxxxxxxxxxxxx",
    "pk_test_your_key_here",
    "pk_test_YOUR-KEY",
    "YOUR_PUBLISHABLE_KEY",
    "<publishable key>",
    "{{publishable_key}}",
    "sk_test_Y2xlcmsuY2xlcmsuZGV2JA",
    "PK_TEST_Y2xlcmsuY2xlcmsuZGV2JA",
    "pk_prod_Y2xlcmsuY2xlcmsuZGV2JA",
    "pk__Y2xlcmsuY2xlcmsuZGV2JA",
    "pk_test_Y2xlcmsuY2xlcmsuZGV2JA\n",
    " pk_test_Y2xlcmsuY2xlcmsuZGV2JA",
    '"pk_test_Y2xlcmsuY2xlcmsuZGV2JA"',
    "pk_test_Y2xlcmsuY2xlcmsuZGV2JA_x",
    "pk_test_Y2xlcmsuY2xlcmsuZGV2J",
    "pk_test_Y2xlcmsuY2xlcmsu\u00e4ZGV2JA",
    publishable("clerk.example.com"),
    publishable("clerk.example.com$$"),
    publishable("$clerk.example.com$"),
    publishable("$"),
    publishable("clerk$"),
    publishable("https://clerk.example.com$"),
    publishable("clerk.example.com/$"),
    publishable("clerk.example.com/x?y#$"),
    publishable("Clerk.Example.com$"),
    publishable("user@clerk.example.com$"),
    publishable("clerk.example.com\n$"),
    publishable("clerk.example.com$\n"),
    publishable("clerk.example.com\0$"),
    publishable("clerk example.com$"),
    publishable(".example.com$"),
    publishable("clerk..com$"),
    publishable("clerk.example.com:$"),
    publishable("clerk.example.com:99999$"),
    publishable("clerk.ex\u00e4mple.com$"),
    publishable(b"\xff\xfe.com$"),
    b"pk_test_Y2xlcmsuY2xlcmsuZGV2JA",
    5,
]


@pytest.mark.parametrize("key", NOT_PUBLISHABLE, ids=ascii)
def test_what_is_no_publishable_key(key: Any) -> None:
    """Refused with what was expected, and where to find it. The text repeats nothing of what was given."""
    told = refusal(publishable_key=key)
    assert "pk_test_" in told or "https://" in told
    assert len(str(key)) < 9 or str(key) not in told.replace("pk_test_ or pk_live_", "")


def test_an_instance_needs_an_issuer() -> None:
    """Keys alone do not tell whose tokens to accept."""
    assert "pass publishable_key=" in refusal()
    assert "pass publishable_key=" in refusal(jwks=CLERK.jwks())


def test_an_issuer_alone_will_do() -> None:
    """Behind a proxy, or with keys at another address."""
    instance = Instance(issuer=f"{ISSUER}/clerk/")
    assert (instance.kind, instance.frontend_api, instance.cookie_suffix) == (None, None, None)
    assert (instance.issuer, instance.name) == (f"{ISSUER}/clerk/", "idp.example/clerk")
    assert instance.jwks_url == f"{ISSUER}/clerk/.well-known/jwks.json"


def test_an_issuer_wins_over_the_publishable_keys() -> None:
    """A proxy's address is the issuer then; further ones count as well."""
    instance = CLERK.make_instance(issuer=ISSUER, extra_issuers=[CLERK.issuer], jwks_url="https://keys.example/jwks")
    assert (instance.issuer, instance.name) == (ISSUER, "idp.example")
    assert instance.issuers == {ISSUER, CLERK.issuer}
    assert instance.frontend_api == CLERK.frontend_api
    assert instance.jwks_url == "https://keys.example/jwks"


@pytest.mark.parametrize(
    ("accepted", "extra"),
    [(True, ["https://x.example"]), (True, ["https://y.example", "https://x.example"]), (False, [])],
)
def test_extra_issuers_count_to_the_letter(accepted: bool, extra: list[str]) -> None:
    """Satellite domains and proxies sign in; whoever else merely uses our key does not."""
    verifier = Verifier(CLERK.make_instance(extra_issuers=extra))
    user = CLERK.create_user()
    token = CLERK.token(user, claims={"iss": "https://x.example"})
    if accepted:
        assert verifier.verify(token).issuer == "https://x.example"
    else:
        with pytest.raises(IssuerRefused):
            verifier.verify(token)
    for near in ("https://x.example/", "http://x.example", "https://X.example", "https://x.example.evil.example", ""):
        with pytest.raises(IssuerRefused):
            verifier.verify(CLERK.token(user, claims={"iss": near}))


def by_url(name: str, url: str) -> dict[str, Any]:
    """Settings in which this one is the URL."""
    return {"issuer": ISSUER} | {name: [url] if name == "extra_issuers" else url}


URLS = ["issuer", "extra_issuers", "jwks_url"]


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "url",
    [
        "https://clerk.example.com",
        "https://clerk.example.com:8443/a/b",
        "http://localhost",
        "http://localhost:8080",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
    ],
)
def test_urls_that_are_taken(name: str, url: str) -> None:
    """Https; plain http for this very machine only."""
    assert Instance(**by_url(name, url)).name


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "url",
    [
        "canary.example",
        "//canary.example",
        "http://canary.example",
        "ftp://canary.example",
        "file:///canary",
        "https://",
        "https:///canary",
        "http://localhost.canary.example",
        "http://127.0.0.1.canary.example",
        "http://127.0.0.1@canary.example",
        "http://10.0.0.1/canary",
        "https://canary@host.example",
        "https://user:canary@host.example",
        "https://:canary@host.example",
        "https://host.example?canary",
        "https://host.example?",
        "https://host.example#canary",
        "https://host.example#",
        "https://host.example ",
        " https://host.example",
        "https://host.example\n",
        "https://ho\tst.example",
        "https://h\u00f6st.example",
        "https://host.example:99999",
        "https://host.example:canary",
        "https://[::1",
    ],
    ids=ascii,
)
def test_urls_that_are_refused(name: str, url: str) -> None:
    """The text names the setting, says what is expected, and repeats nothing: there may be a password in it."""
    told = refusal(**by_url(name, url))
    assert f"{name} must be a plain https:// URL" in told
    assert "canary" not in told


@pytest.mark.parametrize("name", ["production", "a", "n" * 255, "Prüfung 1"])
def test_a_name_of_your_own(name: str) -> None:
    """It is what your rows carry, so it may outlive a change of domain."""
    instance = CLERK.make_instance(name=name)
    assert (instance.name, repr(instance)) == (name, f"Instance({name!r})")
    assert Verifier(instance).verify(CLERK.token(CLERK.create_user())).instance == name


@pytest.mark.parametrize("name", ["n" * 256, "a\nb", "a\0b", "\u202egnp", "\ud800"], ids=ascii)
def test_names_that_are_refused(name: str) -> None:
    """Nothing that a log or a database would stumble over."""
    assert "name must be printable text of at most 255 characters" in refusal(issuer=ISSUER, name=name)


def test_an_issuer_too_long_for_a_name_needs_one() -> None:
    """The derived name keeps the same rule."""
    assert "name must be" in refusal(issuer=f"{ISSUER}/{'a' * 300}")
    assert Instance(issuer=f"{ISSUER}/{'a' * 300}", name="short").name == "short"


def test_replace() -> None:
    """`dataclasses.replace` makes another instance of the same settings but one, checked again."""
    replaced = dataclasses.replace(CLERK.instance, authorized_parties=["https://app.example.com"], name="other")
    assert (replaced.name, len(replaced.parties)) == ("other", 1)
    assert (CLERK.instance.name, CLERK.instance.parties) == (CLERK.frontend_api, frozenset())
    assert (replaced.issuer, replaced.cookie_suffix) == (CLERK.issuer, CLERK.instance.cookie_suffix)
    assert replaced.local_keys is not None
    assert replaced.local_keys.same_as(CLERK.instance.local_keys)
    with pytest.raises(ConfigurationError, match="authorized_parties"):
        dataclasses.replace(CLERK.instance, authorized_parties=["app.example.com"])


def test_an_instance_does_not_change() -> None:
    """And two are the same only if they are one."""
    instance: Any = CLERK.instance
    with pytest.raises(dataclasses.FrozenInstanceError):
        instance.issuer = ISSUER
    assert CLERK.instance != CLERK.make_instance()
    assert len({CLERK.instance, CLERK.make_instance()}) == 2
