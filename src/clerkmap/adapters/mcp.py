"""Authentication for MCP servers that use the official Python SDK.

    clerk = ClerkTokenVerifier(resolver, resource="https://notes.example.com/mcp")
    server = MCPServer("notes", token_verifier=clerk, auth=clerk.auth_settings())

The SDK calls the verifier, and serves the metadata (RFC 9728) that sends clients to Clerk for a token. In a tool,
`principal_of_call()` returns the caller.
"""

import logging
from collections.abc import Sequence
from typing import Any

try:
    from mcp.server.auth.middleware.auth_context import get_access_token
    from mcp.server.auth.provider import AccessToken, TokenVerifier
    from mcp.server.auth.settings import AuthSettings
except ModuleNotFoundError as _error:
    raise ImportError("this adapter needs the official MCP SDK, version 2: pip install 'clerkmap[mcp]'") from _error
from pydantic import Field, PrivateAttr

from ..auth.resolver import Resolver
from ..core.principal import Principal
from ..core.validation import strings
from ..errors import Refused, TokenMissing
from .authenticator import check_resolver

__all__ = ["ClerkAccessToken", "ClerkTokenVerifier", "principal_of_call"]

logger: logging.Logger = logging.getLogger("clerkmap.adapters")


class ClerkAccessToken(AccessToken):
    """The SDK's access token, with the principal. Its repr hides the token and the user."""

    token: str = Field(repr=False)
    subject: str | None = Field(default=None, repr=False)
    claims: dict[str, Any] | None = Field(default=None, repr=False)

    _principal: Principal | None = PrivateAttr(default=None)

    @property
    def principal(self) -> Principal:
        """The principal."""
        if self._principal is None:  # a copy that was made from the public fields
            raise TokenMissing
        return self._principal

    @classmethod
    def of(cls, principal: Principal, token: str, resource: str | None) -> "ClerkAccessToken":
        """Make an access token from a principal. The subject and the organization are your ids."""
        claims, organization, membership = principal.claims, principal.organization, principal.membership
        made = cls(
            token=token,
            client_id=claims.client_id or claims.party or claims.kind,
            scopes=list(claims.scopes),
            expires_at=claims.expires_at,
            resource=resource,
            subject=str(principal.user.id),
            claims={
                "iss": claims.issuer,
                "organization_id": organization.id if organization is not None else None,
                "organization_role": membership.role if membership is not None else None,
            },
        )
        made._principal = principal
        return made


def principal_of_call() -> Principal:
    """Return the principal of the current tool, resource or prompt. Raise `TokenMissing` if there is none."""
    access_token = get_access_token()
    if not isinstance(access_token, ClerkAccessToken):
        raise TokenMissing
    return access_token.principal


class ClerkTokenVerifier(TokenVerifier):
    """Verifies tokens for the SDK.

    Args:
        resolver: Resolves tokens to principals. Its verifier must accept the kind `oauth`, which MCP clients send.
        resource: The URL of this MCP server, as clients spell it. Access tokens must name it as their audience. The
            instance's `audience` is not used.
        allow_no_audience: Accept access tokens without an audience, as Clerk's older grants have. A token with another
            audience is always refused.
    """

    def __init__(self, resolver: Resolver, *, resource: str, allow_no_audience: bool = False) -> None:
        self.resource: str = resource
        self.resolver: Resolver = check_resolver(resolver).for_resource(resource, allow_no_audience=allow_no_audience)

    async def verify_token(self, token: str) -> ClerkAccessToken | None:
        """Verify a token for the SDK. Return None for a refused token, which the SDK turns into a 401. Raise an outage,
        so that clients do not discard a valid token."""
        try:
            principal = await self.resolver.aresolve(token)
            named = principal.claims.payload.get("aud") is not None
            return ClerkAccessToken.of(principal, token, self.resource if named else None)
        except Refused as error:
            logger.info("an MCP client was refused: %s", type(error).__name__)  # the SDK's response has no reason
            return None

    def auth_settings(self, *, scopes: Sequence[str] = ()) -> AuthSettings:
        """Return the SDK's settings: Clerk as the issuer, the resource, and the scopes that each token must have."""
        settings = {
            "issuer_url": self.resolver.verifier.instance.issuer,
            "resource_server_url": self.resource,
            "required_scopes": list(strings("scopes", scopes)) or None,
            "validate_token_resource": False,  # the resolver has checked it
        }
        return AuthSettings.model_validate(settings)  # from strings: a URL object would gain a trailing slash
