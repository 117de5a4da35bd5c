"""An instance: one Clerk environment, or another OpenID provider, with its issuer, keys, secrets and name.

The constructor checks all settings, and the error for a wrong setting names the expected value. The verifier compares
tokens with these settings. An instance never uses the network.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigurationError
from .keys import KeySet, import_jwks, import_pem
from .validation import (
    check_origin,
    check_secret_key,
    check_url,
    check_webhook_secret,
    cookie_suffix,
    key_text,
    read_publishable_key,
    strings,
)

OIDC_ALGORITHMS = ("RS256", "ES256", "ES384", "EdDSA")
MAX_NAME = 255


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Instance:
    """One Clerk environment. Only `publishable_key` is required.

    Args:
        publishable_key: `pk_test_…` or `pk_live_…`. It contains the issuer, the URL of the keys and the cookie suffix.
        secret_key: `sk_…`. Needed to call Clerk's API, and not to verify a token.
        api_url: The URL of Clerk's API. Another URL is for a fake Clerk on this machine.
        jwt_key: The public key, so that keys are never fetched: PEM (with real or escaped line breaks), the base64
            between the armour lines, or the path of a file with either.
        jwks: A JWKS as parsed JSON, so that keys are never fetched.
        jwks_url: The URL of the keys, if it is not the front-end API of the publishable key.
        issuer: The exact `iss` of the tokens, if there is no publishable key.
        extra_issuers: Further accepted values of `iss`, for a proxy or a satellite domain.
        authorized_parties: The origins of your front ends. If given, a token must have been made for one of them.
        audience: The accepted values of `aud`. If given, a token must have one of them; otherwise a token must have no
            audience. A machine token's audience names the machines that it may call.
        webhook_secrets: `whsec_…`; several while you rotate them.
        name: The name that scopes this instance's ids in your database. The default is the issuer's host.
        instance_id: Clerk's id of the environment, `ins_…`. If given, webhooks of other environments are refused.
        oidc_algorithms: See `Instance.oidc`.
    """

    publishable_key: str | None = None
    secret_key: str | None = None
    api_url: str = "https://api.clerk.com"
    jwt_key: str | Path | None = None
    jwks: Mapping[str, Any] | None = None
    jwks_url: str | None = None
    issuer: str = ""
    extra_issuers: Sequence[str] = ()
    authorized_parties: Sequence[str] | None = None
    audience: str | Sequence[str] | None = None
    webhook_secrets: Sequence[str] = ()
    name: str = ""
    instance_id: str | None = None
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
        authorized_parties: Sequence[str] | None = None,
        name: str = "",
    ) -> "Instance":
        """Return an instance for another OpenID provider. Its discovery document names its keys, unless you give them.

        The audience is required, because the provider also signs tokens for other APIs.
        """
        algorithms = strings("algorithms", algorithms)
        if not algorithms:
            raise ConfigurationError(f"algorithms must be one or more of {', '.join(OIDC_ALGORITHMS)}")
        return cls(
            issuer=issuer,
            audience=audience or None,
            oidc_algorithms=algorithms,
            jwks=jwks,
            jwks_url=jwks_url,
            authorized_parties=authorized_parties,
            name=name,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> "Instance":
        """Return an instance from Clerk's environment variables. Keyword arguments win over them.

        `CLERK_PUBLISHABLE_KEY`, `CLERK_SECRET_KEY`, `CLERK_API_URL`, `CLERK_JWT_KEY`, and, separated by commas,
        `CLERK_WEBHOOK_SIGNING_SECRET` and `CLERK_AUTHORIZED_PARTIES`. An empty variable counts as absent.
        """
        source = os.environ if environ is None else environ
        one = {
            "publishable_key": "CLERK_PUBLISHABLE_KEY",
            "secret_key": "CLERK_SECRET_KEY",
            "api_url": "CLERK_API_URL",
            "jwt_key": "CLERK_JWT_KEY",
        }
        many = {"webhook_secrets": "CLERK_WEBHOOK_SIGNING_SECRET", "authorized_parties": "CLERK_AUTHORIZED_PARTIES"}
        found: dict[str, Any] = {key: source[name].strip() for key, name in one.items() if source.get(name, "").strip()}
        for key, name in many.items():
            if source.get(name, "").strip():
                found[key] = [part.strip() for part in source[name].split(",") if part.strip()]
        found.update(overrides)
        if not found.get("publishable_key") and not found.get("issuer"):
            raise ConfigurationError(
                "set CLERK_PUBLISHABLE_KEY to the publishable key from the API keys page of Clerk's dashboard"
            )
        return cls(**found)

    def is_another(self, instance_id: str | None) -> bool:
        """Return whether Clerk's instance id belongs to another environment. False if one of the ids is unknown."""
        return None not in (self.instance_id, instance_id) and self.instance_id != instance_id

    def __post_init__(self) -> None:
        def settle(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        for name in ("extra_issuers", "webhook_secrets", "oidc_algorithms"):
            settle(name, strings(name, getattr(self, name)))
        parties = strings("authorized_parties", () if self.authorized_parties is None else self.authorized_parties)
        if self.authorized_parties is not None and not parties:
            raise ConfigurationError("authorized_parties is empty: leave it out to accept tokens for any front end")
        settle("authorized_parties", parties or None)
        audiences = strings("audience", _one_or_more(self.audience))
        settle("audience", audiences or None)
        settle("audiences", frozenset(audiences))
        if self.publishable_key is not None:
            kind, host = read_publishable_key(self.publishable_key)
            settle("kind", kind)
            settle("frontend_api", host)
            settle("cookie_suffix", cookie_suffix(self.publishable_key))
            settle("issuer", self.issuer or f"https://{host}")
        if not self.issuer:
            raise ConfigurationError("pass publishable_key= or issuer=: keys alone do not name an issuer")
        check_url("issuer", self.issuer)
        for extra in self.extra_issuers:
            check_url("extra_issuers", extra)
        if self.secret_key is not None:
            check_secret_key(self.secret_key, self.kind)
        for secret in self.webhook_secrets:
            check_webhook_secret(secret)
        for party in parties:
            check_origin("authorized_parties", party)
        if not set(self.oidc_algorithms) <= set(OIDC_ALGORITHMS):
            raise ConfigurationError(f"algorithms must be one or more of {', '.join(OIDC_ALGORITHMS)}")
        if self.oidc_algorithms and not self.audiences:
            raise ConfigurationError("an OpenID provider needs audience=: the identifier of your API there")
        if self.instance_id is not None and not re.fullmatch(r"ins_[0-9A-Za-z]{1,64}", str(self.instance_id)):
            raise ConfigurationError("instance_id must be ins_ followed by letters and digits")
        check_url("api_url", self.api_url)
        settle("api_url", self.api_url.rstrip("/").removesuffix("/v1"))
        if self.jwks_url is not None:
            check_url("jwks_url", self.jwks_url)
        elif self.is_clerk:
            settle("jwks_url", f"{self.issuer.rstrip('/')}/.well-known/jwks.json")

        settle("name", self.name or self.issuer.partition("://")[2].rstrip("/"))
        if not isinstance(self.name, str) or len(self.name) > MAX_NAME or not self.name.isprintable():
            raise ConfigurationError(f"name must be printable text of at most {MAX_NAME} characters")
        settle("issuers", frozenset((self.issuer, *self.extra_issuers)))
        settle("parties", frozenset(parties))
        settle("algorithms", frozenset(self.oidc_algorithms or ("RS256",)))
        settle("local_keys", self._import_local_keys())

    def _import_local_keys(self) -> KeySet | None:
        if self.jwt_key is not None and self.jwks is not None:
            raise ConfigurationError("pass jwt_key= or jwks=, not both")
        if self.jwt_key is not None:
            if not str(self.jwt_key).strip():
                raise ConfigurationError("jwt_key is empty: leave it out to fetch the keys")
            return import_pem(key_text(self.jwt_key), self.algorithms)
        if self.jwks is not None:
            keys = import_jwks(self.jwks if isinstance(self.jwks, Mapping) else {}, self.algorithms)
            if not keys:
                raise ConfigurationError(f"jwks has no public signing key for {', '.join(sorted(self.algorithms))}")
            return keys
        return None

    @property
    def is_clerk(self) -> bool:
        """Whether this instance is Clerk, and not another OpenID provider."""
        return not self.oidc_algorithms

    def __repr__(self) -> str:
        return f"Instance({self.name!r})"  # never a secret: reprs end up in logs


def _one_or_more(value: str | Sequence[str] | None) -> Sequence[str]:
    """Return a setting as a list: it may be one string, several or None."""
    return () if value is None else (value,) if isinstance(value, str) else value
