"""Token in, claims out: the rules of `core.verifier`, driven with keys from a key source, in three colours."""

import time
from collections.abc import Callable, Collection

from .core.claims import Claims, TokenKind
from .core.instance import Instance
from .core.keys import KeySource, LocalKeys, VerifyingKey
from .core.verifier import KeyWanted, TokenRules
from .driving import adrive, drive


class Verifier:
    """Verifies the tokens of one instance.

    Args:
        instance: Whose tokens.
        keys: Where the signing keys come from; by default, from the instance's own settings.
        accept: The kinds of token to let through: `session` alone, or those of `session`, `oauth`, `m2m` you ask for.
        leeway: How many seconds the clocks may differ.
        allow_pending: Let sessions through that have a task left to do.
        allow_no_party: Let tokens through that name no party although parties are configured, as those of native
            applications do.
        clock: The time, in seconds since 1970.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        keys: KeySource | None = None,
        accept: Collection[TokenKind] | None = None,
        leeway: float = 5,
        allow_pending: bool = False,
        allow_no_party: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.instance: Instance = instance
        self.rules: TokenRules = TokenRules(
            instance, accept=accept, leeway=leeway, allow_pending=allow_pending, allow_no_party=allow_no_party
        )
        self.keys: KeySource = _key_source(instance) if keys is None else keys
        self.clock: Callable[[], float] = clock

    def verify(self, token: str) -> Claims:
        """The token's claims, or a `TokenError`. May fetch keys; `KeysUnavailable` when it cannot."""
        return drive(self.rules.check(token, self.clock()), lambda wanted: self.keys.get(*wanted))

    def verify_nowait(self, token: str) -> Claims | None:
        """The same from memory alone. None when only a fetch of keys can tell."""
        try:
            return drive(self.rules.check(token, self.clock()), self._at_hand)
        except _NotAtHand:
            return None

    async def averify(self, token: str) -> Claims:
        """The same without holding up the event loop."""
        return await adrive(self.rules.check(token, self.clock()), lambda wanted: self.keys.aget(*wanted))

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
    from .clerk.jwks import RemoteKeys  # here, not above: who has the keys pays for no sockets and threads

    return RemoteKeys(instance)
