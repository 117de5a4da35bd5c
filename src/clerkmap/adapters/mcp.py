"""For MCP servers made with the official Python SDK: who is calling a tool.

    clerk = ClerkTokenVerifier(resolver, resource="https://notes.example.com/mcp")
    server = MCPServer("notes", token_verifier=clerk, auth=clerk.auth_settings())

The SDK asks the verifier, answers 401 with the way to the metadata, and serves the metadata (RFC 9728), which sends
clients to Clerk for their tokens. In a tool, `principal_of_call()` tells whose rows may be shown.
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

__all__ = ["ClerkAccessToken", "ClerkTokenVerifier", "principal_of_call"]

logger: logging.Logger = logging.getLogger("clerkmap.adapters")


class ClerkAccessToken(AccessToken):
    """What the SDK keeps of a token, with the principal. It shows neither token nor person when it is printed."""

    token: str = Field(repr=False)
    subject: str | None = Field(default=None, repr=False)
    claims: dict[str, Any] | None = Field(default=None, repr=False)

    _principal: Principal | None = PrivateAttr(default=None)

    @property
    def principal(self) -> Principal:
        """Who is calling."""
        if self._principal is None:  # a copy that somebody made of its fields
            raise TokenMissing
        return self._principal

    @classmethod
    def of(cls, principal: Principal, token: str, resource: str | None) -> "ClerkAccessToken":
        """In the SDK's words. The subject and the organization are yours; the issuer says whose word it is."""
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
    """Who is calling the tool, the resource or the prompt that asks. Where nobody is, `TokenMissing`."""
    access_token = get_access_token()
    if not isinstance(access_token, ClerkAccessToken):
        raise TokenMissing
    return access_token.principal


class ClerkTokenVerifier(TokenVerifier):
    """Verifies tokens for the SDK.

    A bad token is None, which the SDK answers with 401. An outage is no bad token: it is raised, so that no client
    throws its token away for it.

    Args:
        resolver: Finds the users that tokens lead to. Which kinds of token it accepts, its verifier says: clients of
            MCP bring `oauth`.
        resource: The URL of this MCP server, as its clients spell it. It is the audience of its access tokens: the
            instance's `audience` does not count here.
        allow_no_audience: Let access tokens through that name no audience at all, as Clerk's older grants do. A token
            that names another audience is always refused.
    """

    def __init__(self, resolver: Resolver, *, resource: str, allow_no_audience: bool = False) -> None:
        self.resource: str = resource
        self.resolver: Resolver = resolver.for_resource(resource, allow_no_audience=allow_no_audience)

    async def verify_token(self, token: str) -> ClerkAccessToken | None:
        """What the SDK asks for each request."""
        try:
            principal = await self.resolver.aresolve(token)
            named = principal.claims.payload.get("aud") is not None
            return ClerkAccessToken.of(principal, token, self.resource if named else None)
        except Refused as refusal:
            logger.info("an MCP client was refused: %s", type(refusal).__name__)  # the SDK's answer cannot tell why
            return None

    def auth_settings(self, *, scopes: Sequence[str] = ()) -> AuthSettings:
        """What the SDK wants to know: that Clerk is who gives tokens, for which resource, and the scopes that each
        token must have."""
        settings = {
            "issuer_url": self.resolver.verifier.instance.issuer,
            "resource_server_url": self.resource,
            "required_scopes": list(strings("scopes", scopes)) or None,
            "validate_token_resource": False,  # the resolver has done it, for the tokens that it concerns
        }
        return AuthSettings.model_validate(settings)  # from texts: a URL made before would gain a slash at its end
