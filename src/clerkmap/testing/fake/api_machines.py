"""The API that tells what a machine's token is worth: API keys, machine tokens, OAuth access tokens.

A token that is unknown, revoked or expired is not found, so that only a good one is ever described. The exception is an
OAuth token that is a JWT: it is `{"active": false}`, with the status of success.
"""

from typing import Literal

from ...auth.verifier import Verifier
from ...core.claims import Claims
from ...core.jose import read_token
from ...errors import ConfigurationError, TokenError
from .api_requests import Call, Json, Route, Routes
from .objects import ClerkRefuses, FakeMachineToken
from .shapes import machine_token_shape


def verify_api_key(call: Call) -> Json:
    """What an API key is worth."""
    return _known(call, "api_key", _secret(call, "secret"), "API key")


def verify_m2m_token(call: Call) -> Json:
    """What a machine's token is worth. Parameters other than `token` are refused, also `secret`."""
    token = _secret(call, "token")
    claims = _claims(call, token, "m2m")
    return _known(call, "m2m_token", token, "Machine token") if claims is None else _read(call, claims, "m2m_token")


def verify_oauth_token(call: Call) -> Json:
    """What an OAuth access token is worth."""
    token = _secret(call, "access_token", "secret")
    if not _is_jwt(token):
        return _known(call, "oauth_token", token, "OAuth token")
    claims = _claims(call, token, "oauth")
    return {"active": False} if claims is None else _read(call, claims, "oauth_token")


def _secret(call: Call, *names: str) -> str:
    """The token: the one thing that is said, under one of these names."""
    try:
        said = call.said(*names)
        return said.needed(next((name for name in names if name in said.values), names[0]))
    except ClerkRefuses as refused:  # these endpoints answer 400 to what others answer 422 to
        raise ClerkRefuses(400, refused.code, refused.message, refused.parameter) from None


def _known(call: Call, kind: str, secret: str, what: str) -> Json:
    token, now = call.clerk.machine_tokens.get(secret), call.clerk.clock() * 1000
    expired = token is not None and token.expires_at is not None and token.expires_at <= now
    if token is None or token.kind != kind or token.revoked or expired:
        raise ClerkRefuses(404, "resource_not_found", f"{what} not found")
    return machine_token_shape(token, int(now))


def _is_jwt(token: str) -> bool:
    return token.count(".") == 2


def _claims(call: Call, token: str, kind: Literal["oauth", "m2m"]) -> Claims | None:
    """What a JWT proves; None for what is none, or proves nothing."""
    if not _is_jwt(token):
        return None
    try:
        audience = read_token(token, {}).payload.get("aud")  # whichever resource it is for
        instance = call.clerk.make_instance(audience=audience)
        return Verifier(instance, accept=(kind,), clock=call.clerk.clock).verify(token)
    except (TokenError, ConfigurationError):
        return None


def _read(call: Call, claims: Claims, kind: str) -> Json:
    token = FakeMachineToken(claims.token_id or "", kind, "", claims.subject, client_id=claims.client_id)
    token.scopes = list(claims.scopes)
    token.audience, token.actor = claims.payload.get("aud"), claims.payload.get("act")
    token.created_at = token.updated_at = claims.issued_at * 1000
    token.expires_at = claims.expires_at * 1000
    return machine_token_shape(token, int(call.clerk.clock() * 1000))


ROUTES: Routes = [
    Route("POST", "/api_keys/verify", verify_api_key),
    Route("POST", "/m2m_tokens/verify", verify_m2m_token),
    Route("POST", "/oauth_applications/access_tokens/verify", verify_oauth_token),
]
