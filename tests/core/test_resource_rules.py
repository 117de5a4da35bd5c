"""The rules of tokens that are made for one resource, and reprs that show nothing."""

import pytest

from clerkmap import Instance, Verifier
from clerkmap.core.deliveries import UnverifiedDelivery
from clerkmap.core.jose import UnverifiedToken
from clerkmap.errors import AudienceRefused, ConfigurationError
from clerkmap.testing import FakeClerk

API = "https://notes.example.com/mcp"


def test_a_token_must_name_the_resource() -> None:
    """A foreign audience is refused, and an absent one unless the setting admits it."""
    clerk = FakeClerk(seed=3)
    ann = clerk.create_user()
    verifier = Verifier(clerk.instance, accept=["oauth"])
    strict, lenient = (verifier.for_resource(API, allow_no_audience=each) for each in (False, True))
    token = clerk.oauth_token(ann)
    assert lenient.verify(token).subject == ann.id
    with pytest.raises(AudienceRefused):
        strict.verify(token)
    for each in (strict, lenient):
        assert each.verify(clerk.oauth_token(ann, claims={"aud": API})).subject == ann.id
        with pytest.raises(AudienceRefused):
            each.verify(clerk.oauth_token(ann, claims={"aud": "https://other.example.com"}))
    with pytest.raises(ConfigurationError):
        verifier.for_resource(API, allow_no_audience="yes")  # type: ignore[arg-type]
    other = Instance.oidc(issuer="https://login.example.com", audience="api", jwks=clerk.jwks())
    with pytest.raises(ConfigurationError):
        Verifier(other).for_resource(API, allow_no_audience=True)


def test_reprs_show_nothing() -> None:
    """Neither a token nor a body."""
    assert repr(UnverifiedToken(b"secret", {}, {}, b"secret", b"secret")) == "UnverifiedToken()"
    assert "secret" not in repr(UnverifiedDelivery("msg_1", 1, (), "secret"))
