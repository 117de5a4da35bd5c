"""How your ids are made, and which values can be one."""

import os
import time

from ..core.model import Id
from ..core.records import ClerkOrganization, ClerkUser
from ..errors import ConfigurationError
from ..repository import Ids

_TYPES: dict[str, tuple[type, ...]] = {"uuid7": (str,), "clerk": (str,), "integer": (int,)}


def check_ids(ids: Ids) -> Ids:
    """The strategy itself, or `ConfigurationError`."""
    if not callable(ids) and ids not in _TYPES:
        raise ConfigurationError(f"ids must be a function or one of {', '.join(_TYPES)}")
    return ids


def is_id(id: object) -> bool:
    """Whether a database can store it, and find it again as what it is."""
    if isinstance(id, str):
        return 0 < len(id) <= 255 and id.isprintable()
    return type(id) is int and -(2**63) <= id < 2**63


def check_id(ids: Ids, id: Id) -> Id:
    """An id that came from your side, or `ConfigurationError`: a database would store "7" for 7, or refuse."""
    types = (str, int) if callable(ids) else _TYPES[ids]
    if type(id) not in types or not is_id(id):
        raise ConfigurationError(f"an id of yours must be {' or '.join(each.__name__ for each in types)}, and storable")
    return id


def make_id(ids: Ids, record: ClerkUser | ClerkOrganization) -> Id | None:
    """An id for a thing seen for the first time. None where the database is to make it."""
    if callable(ids):
        return check_id(ids, ids(record))
    if ids == "integer":
        return None
    # A tombstone does not tell the Clerk id, and its row still needs an id.
    return record.clerk_id or record.key if ids == "clerk" else uuid7()


def id_taken() -> ConfigurationError:
    """Two things may not share an id, least of all two people."""
    return ConfigurationError("the strategy given as ids made an id that something else has already")


def uuid7() -> str:
    """A UUID of version 7: sorts by the time it was made, so that an index grows at its end."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (random >> 62 & 0xFFF) << 64 | 0b10 << 62
    digits = f"{value | random & (1 << 62) - 1:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
