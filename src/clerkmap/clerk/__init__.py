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
    from .comparing import Difference, Drift
    from .draining import OutboxWorker, adrain, afill_outbox, drain, fill_outbox
    from .drift import adiff, diff
    from .files import FileReport, abackfill_file, backfill_file
    from .founding import acreate_organization, create_organization
    from .opaque_tokens import OpaqueTokens
    from .repairing import RepairReport, arepair, repair
    from .runs import Progress, Report
    from .sending import Sent, WriteBack

_HOMES = {
    "api": ("AsyncClerkApi", "ClerkApi"),
    "backfilling": ("abackfill", "backfill"),
    "comparing": ("Difference", "Drift"),
    "draining": ("OutboxWorker", "adrain", "afill_outbox", "drain", "fill_outbox"),
    "drift": ("adiff", "diff"),
    "files": ("FileReport", "abackfill_file", "backfill_file"),
    "founding": ("acreate_organization", "create_organization"),
    "opaque_tokens": ("OpaqueTokens",),
    "repairing": ("RepairReport", "arepair", "repair"),
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
    "RepairReport",
    "Report",
    "Sent",
    "WriteBack",
    "abackfill",
    "abackfill_file",
    "acreate_organization",
    "adiff",
    "adrain",
    "afill_outbox",
    "arepair",
    "backfill",
    "backfill_file",
    "create_organization",
    "diff",
    "drain",
    "fill_outbox",
    "repair",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
