"""Whose secret key it is. One that belongs to another instance would find nobody, and everybody would seem to be gone.

The keys that the API shows to the owner of a secret key must be those that the instance's tokens are signed with.
"""

from typing import TYPE_CHECKING

from ..core.instance import Instance
from ..core.keys import KeySet, import_jwks
from ..errors import KeysUnavailable, WrongInstance
from . import endpoints
from .jwks import DEADLINE, fetch_jwks
from .runs import Steps

if TYPE_CHECKING:
    import httpx


def published_keys(instance: Instance) -> KeySet:
    """The keys that an instance's tokens are signed with: those it was given, or those it publishes."""
    return fetched_keys(instance) if instance.local_keys is None else instance.local_keys


def fetched_keys(
    instance: Instance, transport: "httpx.BaseTransport | None" = None, deadline: float = DEADLINE
) -> KeySet:
    """The keys that an instance publishes, asked for now, or `KeysUnavailable`."""
    try:
        return import_jwks(fetch_jwks(instance, transport, deadline), instance.algorithms)
    except Exception as error:  # noqa: BLE001 - whatever went wrong out there, it is the keys that cannot be had
        raise KeysUnavailable(type(error).__name__) from None


def check_instance(keys: KeySet) -> Steps:
    """See that the secret key belongs to the instance of these keys, or raise `WrongInstance`."""
    shown = yield lambda api, _: api.ask(endpoints.jwks())
    theirs = [key.publics for key in import_jwks(shown, frozenset(key.algorithm for key in keys)) or ()]
    if not any(key.publics in theirs for key in keys):
        raise WrongInstance("nothing was read or written")
