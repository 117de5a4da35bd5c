"""Talking to Clerk. The only room whose inhabitants open sockets.

    from clerkmap.clerk import ClerkApi, backfill, endpoints

    api = ClerkApi(instance)
    api.ask(endpoints.user("user_2abc"))  # one question
    backfill(api, repository)             # everything, into the repository

Importing this costs nothing: each name is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import AsyncClerkApi, ClerkApi
    from .backfilling import abackfill, backfill
    from .draining import OutboxWorker, adrain, afill_outbox, drain, fill_outbox
    from .drift import Difference, Drift, adiff, diff
    from .files import FileReport, abackfill_file, backfill_file
    from .opaque_tokens import OpaqueTokens
    from .runs import Progress, Report
    from .sending import Sent, WriteBack

_HOMES = {
    "api": ("AsyncClerkApi", "ClerkApi"),
    "backfilling": ("abackfill", "backfill"),
    "draining": ("OutboxWorker", "adrain", "afill_outbox", "drain", "fill_outbox"),
    "drift": ("Difference", "Drift", "adiff", "diff"),
    "files": ("FileReport", "abackfill_file", "backfill_file"),
    "opaque_tokens": ("OpaqueTokens",),
    "runs": ("Progress", "Report"),
    "sending": ("Sent", "WriteBack"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncClerkApi",
    "ClerkApi",
    "Difference",
    "Drift",
    "FileReport",
    "OpaqueTokens",
    "OutboxWorker",
    "Progress",
    "Report",
    "Sent",
    "WriteBack",
    "abackfill",
    "abackfill_file",
    "adiff",
    "adrain",
    "afill_outbox",
    "backfill",
    "backfill_file",
    "diff",
    "drain",
    "fill_outbox",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
