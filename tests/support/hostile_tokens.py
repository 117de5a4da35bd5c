"""The table of hostile tokens: each must be refused, with exactly its code, by everything that takes a token.

Each token has one fault, and all else about it is as good as it can be: where a signature could be made, it is a good
one. The kinds of fault stand in the modules named `hostile_…` beside this one.
"""

from functools import cache

import hostile_claims
import hostile_headers
import hostile_json
import hostile_purposes
import hostile_spelling
from hostile_base import CLERK, INSTANCE, NOW, ORGANIZATION, USER, Hostile

__all__ = ["CLERK", "INSTANCE", "NOW", "ORGANIZATION", "USER", "Hostile", "hostile_tokens"]


@cache
def hostile_tokens() -> tuple[Hostile, ...]:
    """All of them, in an order that never changes."""
    rooms = (hostile_spelling, hostile_headers, hostile_json, hostile_claims, hostile_purposes)
    return tuple(hostile for room in rooms for hostile in room.tokens())
