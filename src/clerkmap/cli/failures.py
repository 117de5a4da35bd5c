"""What to say, and which code to end with, when a command could not do its work. One line, and never a traceback."""

import re

from ..errors import (
    ApiError,
    ApiKeyRefused,
    ApiUnavailable,
    ClerkmapError,
    CommitUnknown,
    ConfigurationError,
    KeysUnavailable,
    RepositoryUnavailable,
    Unavailable,
    WrongInstance,
)
from .codes import CONFIGURATION, NOT_FINE, UNAVAILABLE

# What the doctor looks at.
_SETTING = re.compile(r"CLERK(MAP)?_[A-Z]|--database")

# By the first class that fits: how the command ends, and what to do next.
_ENDS: tuple[tuple[type[BaseException], int, str], ...] = (
    (ApiKeyRefused, CONFIGURATION, ""),
    (WrongInstance, CONFIGURATION, ""),
    (ConfigurationError, CONFIGURATION, "`clerkmap doctor` looks at all of it"),
    (ApiUnavailable, UNAVAILABLE, "Run the same again later; `clerkmap doctor` tells more"),
    (
        KeysUnavailable,
        UNAVAILABLE,
        "Set CLERK_JWT_KEY, or see with `clerkmap doctor` what is in the way",
    ),
    (CommitUnknown, UNAVAILABLE, ""),
    (RepositoryUnavailable, UNAVAILABLE, "See whether it is up, and named rightly: `clerkmap doctor`"),
    (ApiError, UNAVAILABLE, "`clerkmap doctor` may tell more; Clerk's support asks for the trace"),
    (Unavailable, UNAVAILABLE, "Run the same again later"),
    (ClerkmapError, NOT_FINE, ""),
    (ImportError, CONFIGURATION, ""),  # of a driver that is not installed: its text says what to install
)


def failure_of(error: Exception) -> tuple[str, int] | None:
    """The line for people, and the exit code for programs; None for what is no error of clerkmap's."""
    for kind, code, remedy in _ENDS:
        if isinstance(error, kind) and (kind is not ImportError or "pip install" in str(error)):
            return _told(error, remedy), code
    return None


def _told(error: Exception, remedy: str) -> str:
    """What happened and what to do. Some texts say already what to do."""
    said = " ".join(str(error).split()).rstrip(".")
    if type(error) is ConfigurationError:
        said = said.removeprefix(f"{error.text}: ")  # it may be an argument that is wrong
        if not _SETTING.search(said):
            return f"{said}."
    return f"{said}." if "`clerkmap" in said or not remedy else f"{said}. {remedy}."
