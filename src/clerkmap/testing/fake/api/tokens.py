"""The endpoints that verify opaque tokens, and those that publish the keys.

An unknown, revoked or expired token is not found, so only a valid token is described. The exception is an OAuth token
that is a JWT: the answer to an invalid one is `{"active": false}` with status 200.
"""

from typing import Literal

from ....auth.verifier import Verifier
from ....core.claims import Claims
from ....core.instance import Instance
from ....core.jose import read_token
from ....errors import ConfigurationError, TokenError
from ..objects import ClerkRefuses, FakeMachineToken
from ..shapes import machine_token_shape
from .calls import ApiCall, Route, Routes
from .requests import Json


def verify_api_key(call: ApiCall) -> Json:
    """Verify an API key."""
    return _known(call, "api_key", _secret(call, "secret"), "API key")


def verify_m2m_token(call: ApiCall) -> Json:
    """Verify a machine token. Parameters other than `token` are refused, `secret` included."""
    token = _secret(call, "token")
    claims = _claims(call, token, "m2m")
    return _known(call, "m2m_token", token, "Machine token") if claims is None else _read(call, claims, "m2m_token")


def verify_oauth_token(call: ApiCall) -> Json:
    """Verify an OAuth access token."""
    token = _secret(call, "access_token", "secret")
    if not _is_jwt(token):
        return _known(call, "oauth_token", token, "OAuth token")
    claims = _claims(call, token, "oauth")
    return {"active": False} if claims is None else _read(call, claims, "oauth_token")


def _secret(call: ApiCall, *names: str) -> str:
    """Return the token: the only parameter, under one of these names."""
    try:
        body = call.body(*names)
        return body.required(next((name for name in names if name in body.values), names[0]))
    except ClerkRefuses as refused:  # these endpoints answer 400 where others answer 422
        raise ClerkRefuses(400, refused.code, refused.message, refused.parameter) from None


def _known(call: ApiCall, kind: str, secret: str, name: str) -> Json:
    token, now = call.store.machine_tokens.get(secret), call.store.clock() * 1000
    expired = token is not None and token.expires_at is not None and token.expires_at <= now
    if token is None or token.kind != kind or token.revoked or expired:
        raise ClerkRefuses(404, "resource_not_found", f"{name} not found")
    return machine_token_shape(token, int(now))


def _is_jwt(token: str) -> bool:
    return token.count(".") == 2


def _claims(call: ApiCall, token: str, kind: Literal["oauth", "m2m"]) -> Claims | None:
    """Return the claims of a valid JWT, otherwise None."""
    if not _is_jwt(token):
        return None
    try:
        audience = read_token(token, {}).payload.get("aud")  # any resource is accepted
        tokens = call.tokens
        instance = Instance(publishable_key=tokens.publishable_key, jwks=tokens.jwks(), audience=audience)
        return Verifier(instance, accept=(kind,), clock=call.store.clock).verify(token)
    except (TokenError, ConfigurationError):
        return None


def _read(call: ApiCall, claims: Claims, kind: str) -> Json:
    token = FakeMachineToken(claims.token_id or "", kind, "", claims.subject, client_id=claims.client_id)
    token.scopes = list(claims.scopes)
    token.audience, token.actor = claims.payload.get("aud"), claims.payload.get("act")
    token.created_at = token.updated_at = claims.issued_at * 1000
    token.expires_at = claims.expires_at * 1000
    return machine_token_shape(token, int(call.store.clock() * 1000))


# Published keys


def jwks(call: ApiCall) -> Json:
    """Return the public keys: those of `faults.keys_of` if it is set."""
    return (call.faults.keys_of or call.tokens).jwks()


def openid_configuration(call: ApiCall) -> Json:
    """Return the OpenID Connect discovery document."""
    issuer = call.tokens.issuer
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "userinfo_endpoint": f"{issuer}/oauth/userinfo",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "id_token_signing_alg_values_supported": [call.tokens.key.algorithm],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid", "profile", "email"],
    }


JWKS: Routes = [Route("GET", "/jwks", jwks)]
ROUTES: Routes = [
    Route("POST", "/api_keys/verify", verify_api_key),
    Route("POST", "/m2m_tokens/verify", verify_m2m_token),
    Route("POST", "/oauth_applications/access_tokens/verify", verify_oauth_token),
]
# Served without a secret key and without an API version.
PUBLIC: Routes = [
    Route("GET", "/.well-known/jwks.json", jwks),
    Route("GET", "/.well-known/openid-configuration", openid_configuration),
]
