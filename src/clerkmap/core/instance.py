"""One Clerk environment, or another OpenID provider: its issuer, its keys, its secrets, and the name of its ids' world.

Everything is checked here, once, at construction, and a value that cannot work says what was expected instead. What is
left is a set of plain facts that the verifier compares tokens with. An instance never talks to anybody.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from .keys import KeySet, import_jwks, import_pem

OIDC_ALGORITHMS = ("RS256", "ES256", "ES384", "EdDSA")
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAX_NAME = 255
_MAX_KEY_FILE = 65_536


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Instance:
    """One Clerk environment. A publishable key is all it needs.

    Args:
        publishable_key: `pk_test_…` or `pk_live_…`. Tells the issuer, where the keys are, and the cookie suffix.
        secret_key: `sk_…`. Only needed to call Clerk's API; never to verify a token.
        jwt_key: The public key, so that no key is ever fetched: PEM (line breaks real or escaped), the base64 between
            the armour, or the path of a file with either.
        jwks: A whole JWKS, likewise, as parsed JSON.
        jwks_url: Where to fetch keys, if not from the front-end API of the publishable key.
        issuer: The exact `iss` of the tokens, when there is no publishable key to tell it.
        extra_issuers: Further values of `iss` that count as this instance: a proxy, a satellite domain.
        authorized_parties: The origins of your front ends. When given, a token must have been made for one of them.
        audience: Accepted values of `aud`. When given, a token must have one of them; otherwise it may have none.
        webhook_secrets: `whsec_…`; several while you rotate them.
        name: What scopes this instance's ids in your database. The issuer's host, unless you choose.
        oidc_algorithms: See `Instance.oidc`.
    """

    publishable_key: str | None = None
    secret_key: str | None = None
    jwt_key: str | Path | None = None
    jwks: Mapping[str, Any] | None = None
    jwks_url: str | None = None
    issuer: str = ""
    extra_issuers: Sequence[str] = ()
    authorized_parties: Sequence[str] = ()
    audience: str | Sequence[str] | None = None
    webhook_secrets: Sequence[str] = ()
    name: str = ""
    oidc_algorithms: Sequence[str] = ()

    kind: Literal["test", "live"] | None = field(init=False, default=None)
    frontend_api: str | None = field(init=False, default=None)
    cookie_suffix: str | None = field(init=False, default=None)
    issuers: frozenset[str] = field(init=False)
    audiences: frozenset[str] = field(init=False)
    parties: frozenset[str] = field(init=False)
    algorithms: frozenset[str] = field(init=False)
    local_keys: KeySet | None = field(init=False, default=None)

    @classmethod
    def oidc(
        cls,
        *,
        issuer: str,
        audience: str | Sequence[str],
        algorithms: Sequence[str] = OIDC_ALGORITHMS,
        jwks: Mapping[str, Any] | None = None,
        jwks_url: str | None = None,
        authorized_parties: Sequence[str] = (),
        name: str = "",
    ) -> "Instance":
        """Any other OpenID provider. Its keys are found through its discovery document, unless you give them.

        The audience is required: it is what tells your API's tokens from those of its neighbours.
        """
        unknown = [each for each in algorithms if each not in OIDC_ALGORITHMS]
        if unknown or not algorithms:
            raise ConfigurationError(f"algorithms must be some of {', '.join(OIDC_ALGORITHMS)}")
        if not audience:
            raise ConfigurationError("an OpenID provider needs audience=: the identifier of your API there")
        return cls(
            issuer=issuer,
            audience=audience,
            oidc_algorithms=tuple(algorithms),
            jwks=jwks,
            jwks_url=jwks_url,
            authorized_parties=authorized_parties,
            name=name,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> "Instance":
        """Read Clerk's own environment variables. Keyword arguments win over them.

        `CLERK_PUBLISHABLE_KEY`, `CLERK_SECRET_KEY`, `CLERK_JWT_KEY`, and, separated by commas,
        `CLERK_WEBHOOK_SIGNING_SECRET` and `CLERK_AUTHORIZED_PARTIES`. An empty variable counts as absent.
        """
        source = os.environ if environ is None else environ
        one = {
            "publishable_key": "CLERK_PUBLISHABLE_KEY",
            "secret_key": "CLERK_SECRET_KEY",
            "jwt_key": "CLERK_JWT_KEY",
        }
        many = {"webhook_secrets": "CLERK_WEBHOOK_SIGNING_SECRET", "authorized_parties": "CLERK_AUTHORIZED_PARTIES"}
        found: dict[str, Any] = {key: source[name].strip() for key, name in one.items() if source.get(name, "").strip()}
        for key, name in many.items():
            values = [part.strip() for part in source.get(name, "").split(",") if part.strip()]
            if values:
                found[key] = values
        found.update(overrides)
        if not found.get("publishable_key") and not found.get("issuer"):
            raise ConfigurationError(
                "set CLERK_PUBLISHABLE_KEY to the publishable key on the dashboard's API keys page"
            )
        return cls(**found)

    def __post_init__(self) -> None:
        def settle(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        if self.publishable_key is not None:
            kind, host = _read_publishable_key(self.publishable_key)
            settle("kind", kind)
            settle("frontend_api", host)
            settle("cookie_suffix", _cookie_suffix(self.publishable_key))
            settle("issuer", self.issuer or f"https://{host}")
        if not self.issuer:
            raise ConfigurationError("give publishable_key=, or issuer=: keys alone do not tell whose tokens to accept")
        _check_url("issuer", self.issuer)
        for extra in _strings("extra_issuers", self.extra_issuers):
            _check_url("extra_issuers", extra)
        if self.secret_key is not None:
            _check_secret_key(self.secret_key, self.kind)
        for secret in _strings("webhook_secrets", self.webhook_secrets):
            _check_webhook_secret(secret)
        for party in _strings("authorized_parties", self.authorized_parties):
            _check_origin(party)
        if self.jwks_url is not None:
            _check_url("jwks_url", self.jwks_url)
        elif not self.oidc_algorithms:
            settle("jwks_url", f"{self.issuer.rstrip('/')}/.well-known/jwks.json")
        audiences = (
            () if self.audience is None else (self.audience,) if isinstance(self.audience, str) else self.audience
        )

        settle("name", self.name or self.issuer.partition("://")[2].rstrip("/"))
        if len(self.name) > _MAX_NAME or not self.name.isprintable():
            raise ConfigurationError(f"name must be printable text of at most {_MAX_NAME} characters")
        settle("issuers", frozenset((self.issuer, *self.extra_issuers)))
        settle("parties", frozenset(self.authorized_parties))
        settle("audiences", frozenset(_strings("audience", audiences)))
        settle("algorithms", frozenset(self.oidc_algorithms or ("RS256",)))
        settle("local_keys", self._import_local_keys())

    def _import_local_keys(self) -> KeySet | None:
        if self.jwt_key is not None and self.jwks is not None:
            raise ConfigurationError("give jwt_key= or jwks=, not both")
        if self.jwt_key is not None:
            if not str(self.jwt_key).strip():
                raise ConfigurationError("jwt_key is empty; leave it out to have the keys fetched")
            return import_pem(_key_text(self.jwt_key), self.algorithms)
        if self.jwks is not None:
            keys = import_jwks(self.jwks, self.algorithms)
            if not keys:
                raise ConfigurationError(f"jwks has no public signing key for {', '.join(sorted(self.algorithms))}")
            return keys
        return None

    @property
    def is_clerk(self) -> bool:
        """Whether this is Clerk, and not another OpenID provider."""
        return not self.oidc_algorithms

    def __repr__(self) -> str:
        return f"Instance({self.name!r})"  # never a secret: reprs end up in logs


def _strings(name: str, values: Sequence[str]) -> Sequence[str]:
    # One string where a list is meant would be read letter by letter, and match nothing.
    if isinstance(values, str) or not all(isinstance(value, str) and value for value in values):
        raise ConfigurationError(f"{name} must be a list of non-empty strings")
    return values


def _read_publishable_key(key: str) -> tuple[Literal["test", "live"], str]:
    expected = ConfigurationError(
        "publishable_key must be pk_test_ or pk_live_ followed by the encoded front-end host, "
        "as the dashboard's API keys page shows it"
    )
    parts = key.split("_") if isinstance(key, str) else []
    if len(parts) != 3 or parts[0] != "pk" or parts[1] not in ("test", "live"):
        raise expected
    encoded = parts[2].rstrip("=")
    try:
        host = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise expected from None
    if not host.endswith("$") or not _HOST.fullmatch(host[:-1]):
        raise expected
    return ("test" if parts[1] == "test" else "live"), host[:-1]


def _cookie_suffix(publishable_key: str) -> str:
    digest = hashlib.sha1(publishable_key.encode(), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).decode()[:8]


def _check_secret_key(key: str, kind: str | None) -> None:
    if not re.fullmatch(r"sk_(test|live)_[0-9A-Za-z]{10,200}", key):
        raise ConfigurationError("secret_key must be sk_test_ or sk_live_ followed by letters and digits")
    if kind is not None and not key.startswith(f"sk_{kind}_"):
        raise ConfigurationError("secret_key and publishable_key belong to different environments (test and live)")


def _check_webhook_secret(secret: str) -> None:
    expected = ConfigurationError("a webhook secret must be whsec_ followed by the base64 of 24 to 64 bytes")
    if not secret.startswith("whsec_"):
        raise expected
    encoded = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise expected from None
    if not 24 <= len(key) <= 64:
        raise expected


def _check_url(name: str, url: str) -> None:
    """Https only, but for this very machine."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    if not host or not secure or parts.username or parts.query or parts.fragment or not url.isascii() or " " in url:
        raise ConfigurationError(f"{name} must be a plain https:// URL")


def _check_origin(origin: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s@]+", origin) or origin != origin.lower():
        raise ConfigurationError(
            "authorized_parties are compared with origins, such as https://app.example.com: a scheme, a host in "
            "lower case, perhaps a port, and no slash at the end"
        )


def _key_text(key: str | Path) -> str:
    """What was pasted, or what is in the file it names."""
    text = str(key)
    if not isinstance(key, Path) and ("-----BEGIN" in text or re.fullmatch(r"[0-9A-Za-z+/=\s\\]{100,}", text)):
        return text
    try:
        with open(text, encoding="ascii") as file:
            return file.read(_MAX_KEY_FILE)
    except (OSError, ValueError):
        raise ConfigurationError(
            "jwt_key is neither a PEM public key nor the path of a readable file with one"
        ) from None
