"""Verify a token and return its claims: sync, async or from memory, with keys from a key source."""

import time
from collections.abc import Callable, Collection, Mapping
from copy import copy

from .._runtime.driving import adrive, drive
from ..core.claims import Claims, TokenKind
from ..core.instance import Instance
from ..core.keys import KeySource, LocalKeys, VerifyingKey
from ..core.opaque_tokens import KINDS, OpaqueSource, prefix_of
from ..core.token_rules import KeyWanted, TokenRules
from ..errors import ConfigurationError


class Verifier:
    """Verifies the tokens of one instance.

    Args:
        instance: The instance of the tokens.
        keys: The source of the signing keys; by default, the settings of the instance.
        accept: The kinds of token to accept; by default, only `session`. Choose from `session`, `oauth`, `m2m`,
            `api_key` and `organization_api_key`. For another OpenID provider: `oidc`, which is its default, and
            `oidc_machine` for tokens of clients without a user.
        opaque: The source that looks up opaque tokens: `OpaqueTokens(instance)`. Without it, every token is a JWT.
        leeway: The largest difference between the two clocks, in seconds.
        allow_pending: Accept sessions with a pending task.
        allow_no_party: Accept tokens that name no party, as those of native applications, although parties are
            configured.
        own_id: The claim with your id, if you write it back to Clerk: `userId`, or `metadata.userId`.
        profile: The custom claims with the user's profile, for a user that only tokens have named:
            `{"email": "email", "name": "full_name"}`. The fields are email, first_name, last_name, username, image_url
            and, instead of the two names, name. See the page "E-mail on the first request".
        clock: Returns the time, in seconds since 1970.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        keys: KeySource | None = None,
        accept: Collection[TokenKind] | None = None,
        opaque: OpaqueSource | None = None,
        leeway: float = 5,
        allow_pending: bool = False,
        allow_no_party: bool = False,
        own_id: str | None = None,
        profile: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.instance: Instance = instance
        allowed = {"allow_pending": allow_pending, "allow_no_party": allow_no_party}
        self.rules: TokenRules = TokenRules(
            instance, accept=accept, leeway=leeway, own_id=own_id, profile=profile, **allowed
        )
        self.keys: KeySource = _key_source(instance) if keys is None else keys
        self.clock: Callable[[], float] = clock
        self.opaque: OpaqueSource | None = opaque
        if opaque is None and not self.rules.accept.isdisjoint(KINDS["ak"]):
            raise ConfigurationError("API keys must be looked up at Clerk: pass opaque=OpaqueTokens(instance)")
        if opaque is not None and opaque.instance is not instance:
            raise ConfigurationError("opaque and verifier must have the same instance")

    def for_resource(self, resource: str, *, allow_no_audience: bool = False) -> "Verifier":
        """Return a verifier with these rules for tokens of one resource, such as an MCP server.

        Args:
            resource: The URL of the resource. It replaces the instance's `audience`: an access token must name it,
                with or without a slash at the end or a query.
            allow_no_audience: Accept Clerk tokens that name no audience, as older grants do.
        """
        bound = copy(self)
        bound.rules = self.rules.for_resource(resource, allow_no_audience=allow_no_audience)
        return bound

    def verify(self, token: str) -> Claims:
        """Return the token's claims. May fetch keys, or call Clerk's API.

        Raises:
            TokenError: The token is refused.
            Unavailable: Keys or Clerk's API could not be reached.
        """
        opaque = self.source_of(token)
        if opaque is not None:
            return self.rules.check_vouched(opaque.get(token), self.clock())
        return drive(self.rules.check(token, self.clock()), lambda wanted: self.keys.get(*wanted))

    def verify_nowait(self, token: str) -> Claims | None:
        """Do the same from memory alone. Return None when this would need a fetch of keys, or Clerk's API."""
        opaque = self.source_of(token)
        if opaque is not None:
            vouched = opaque.peek(token)
            return None if vouched is None else self.rules.check_vouched(vouched, self.clock())
        try:
            return drive(self.rules.check(token, self.clock()), self._key_in_memory)
        except _KeyNotInMemory:
            return None

    async def averify(self, token: str) -> Claims:
        """Do the same without blocking the event loop."""
        opaque = self.source_of(token)
        if opaque is not None:
            return self.rules.check_vouched(await opaque.aget(token), self.clock())
        return await adrive(self.rules.check(token, self.clock()), lambda wanted: self.keys.aget(*wanted))

    def source_of(self, token: str) -> OpaqueSource | None:
        """Return the source for a token, or None for a JWT. A kind that is not accepted is refused before a look-up."""
        if self.opaque is None:
            return None
        prefix = prefix_of(token)
        if prefix is None:
            return None
        self.rules.check_prefix(prefix)
        return self.opaque

    def _key_in_memory(self, wanted: KeyWanted) -> VerifyingKey:
        key = self.keys.peek(*wanted)
        if key is None:
            raise _KeyNotInMemory
        return key


class _KeyNotInMemory(Exception):
    """The key is not in memory, and needs a fetch."""


def _key_source(instance: Instance) -> KeySource:
    """Return the key source for the settings of an instance. Keys from the settings are never fetched."""
    if instance.local_keys is not None:
        return LocalKeys(instance.local_keys)
    from ..clerk.jwks import RemoteKeys  # imported here: with local keys, no sockets or threads are loaded

    return RemoteKeys(instance)
