"""Token in, claims out: the rules of `core.verifier`, driven with keys from a key source, in three colours."""

import time
from collections.abc import Callable, Collection
from copy import copy

from .._runtime.driving import adrive, drive
from ..core.claims import Claims, TokenKind
from ..core.instance import Instance
from ..core.keys import KeySource, LocalKeys, VerifyingKey
from ..core.opaque_tokens import KINDS, OpaqueSource, prefix_of
from ..core.verification import KeyWanted, TokenRules
from ..errors import ConfigurationError


class Verifier:
    """Verifies the tokens of one instance.

    Args:
        instance: Whose tokens.
        keys: Where the signing keys come from; by default, from the instance's own settings.
        accept: The kinds of token to let through: `session` alone, or those of `session`, `oauth`, `m2m`, `api_key`
            and `organization_api_key` that you ask for. Of another OpenID provider: `oidc` alone, or also
            `oidc_machine`, for tokens of clients that no user is behind.
        opaque: Who can tell what an opaque token stands for: `OpaqueTokens(instance)`. Without it, a token is a JWT.
        leeway: How many seconds the clocks may differ.
        allow_pending: Let sessions through that have a task left to do.
        allow_no_party: Let tokens through that name no party although parties are configured, as those of native
            applications do.
        own_id: In which claim your own id stands, if you have it written back to Clerk: `userId`, or `metadata.userId`.
        clock: The time, in seconds since 1970.
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.instance: Instance = instance
        allowed = {"allow_pending": allow_pending, "allow_no_party": allow_no_party}
        self.rules: TokenRules = TokenRules(instance, accept=accept, leeway=leeway, own_id=own_id, **allowed)
        self.keys: KeySource = _key_source(instance) if keys is None else keys
        self.clock: Callable[[], float] = clock
        self.opaque: OpaqueSource | None = opaque
        if opaque is None and not self.rules.accept.isdisjoint(KINDS["ak"]):
            raise ConfigurationError(
                "only Clerk can tell what an API key stands for: give opaque=OpaqueTokens(instance)"
            )
        if opaque is not None and opaque.instance is not instance:
            raise ConfigurationError("opaque is for another instance")

    def for_resource(self, resource: str, *, allow_no_audience: bool = False) -> "Verifier":
        """Return a verifier of the same tokens that were made for one resource, such as an MCP server.

        Args:
            resource: The URL of the resource. It takes the place of the instance's `audience`: an access token must
                name it, with or without a slash at the end or a query.
            allow_no_audience: Let tokens of Clerk through that name no audience at all, as older grants do.
        """
        bound = copy(self)
        bound.rules = self.rules.for_resource(resource, allow_no_audience=allow_no_audience)
        return bound

    def verify(self, token: str) -> Claims:
        """The token's claims, or a `TokenError`. May fetch keys, or ask Clerk; `Unavailable` when it cannot."""
        opaque = self.source_of(token)
        if opaque is not None:
            return self.rules.check_vouched(opaque.get(token), self.clock())
        return drive(self.rules.check(token, self.clock()), lambda wanted: self.keys.get(*wanted))

    def verify_nowait(self, token: str) -> Claims | None:
        """The same from memory alone. None when only a fetch of keys can tell, or Clerk."""
        opaque = self.source_of(token)
        if opaque is not None:
            vouched = opaque.peek(token)
            return None if vouched is None else self.rules.check_vouched(vouched, self.clock())
        try:
            return drive(self.rules.check(token, self.clock()), self._at_hand)
        except _NotAtHand:
            return None

    async def averify(self, token: str) -> Claims:
        """The same without holding up the event loop."""
        opaque = self.source_of(token)
        if opaque is not None:
            return self.rules.check_vouched(await opaque.aget(token), self.clock())
        return await adrive(self.rules.check(token, self.clock()), lambda wanted: self.keys.aget(*wanted))

    def source_of(self, token: str) -> OpaqueSource | None:
        """Whom to ask about a token, if it is opaque. A kind that is not accepted is refused before anybody is."""
        if self.opaque is None:
            return None
        prefix = prefix_of(token)
        if prefix is None:
            return None
        self.rules.check_prefix(prefix)
        return self.opaque

    def _at_hand(self, wanted: KeyWanted) -> VerifyingKey:
        key = self.keys.peek(*wanted)
        if key is None:
            raise _NotAtHand
        return key


class _NotAtHand(Exception):
    """The key would have to be fetched."""


def _key_source(instance: Instance) -> KeySource:
    """The source an instance's settings ask for. Keys that were given are never fetched."""
    if instance.local_keys is not None:
        return LocalKeys(instance.local_keys)
    from ..clerk.jwks import RemoteKeys  # here, not above: who has the keys pays for no sockets and threads

    return RemoteKeys(instance)
