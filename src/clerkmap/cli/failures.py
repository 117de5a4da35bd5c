"""The exit codes of commands, and the line for an error."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FINE = 0
NOT_FINE = 1  # the command has run, and its result is negative
USAGE = 2  # chosen by click
CONFIGURATION = 3
UNAVAILABLE = 4
INTERRUPTED = 130

# Settings that `clerkmap doctor` checks.
_SETTING = re.compile(r"CLERK(MAP)?_[A-Z]|--database")


def failure_of(error: Exception) -> tuple[str, int] | None:
    """Return the line and the exit code for an error; None if it is not an error of clerkmap."""
    for kind, code, remedy in _ends():
        if isinstance(error, kind) and (kind is not ImportError or "pip install" in str(error)):
            return _told(error, remedy), code
    return None


def _ends() -> "Iterator[tuple[type[BaseException], int, str]]":
    """Yield classes of errors with their exit code and the next step. The first matching class counts."""
    from .. import errors  # imported here: `clerkmap --help` does not load the errors

    yield errors.ApiKeyRefused, CONFIGURATION, ""
    yield errors.WrongInstance, CONFIGURATION, ""
    yield errors.ConfigurationError, CONFIGURATION, "Check it with `clerkmap doctor`"
    yield errors.ApiUnavailable, UNAVAILABLE, "Run the command again later; see the cause with `clerkmap doctor`"
    yield errors.KeysUnavailable, UNAVAILABLE, "Set CLERK_JWT_KEY, or see the cause with `clerkmap doctor`"
    yield errors.CommitUnknown, UNAVAILABLE, ""
    yield errors.RepositoryUnavailable, UNAVAILABLE, "Check the server and the URL with `clerkmap doctor`"
    yield errors.ApiError, UNAVAILABLE, "See `clerkmap doctor`; give Clerk's support the trace"
    yield errors.Unavailable, UNAVAILABLE, "Run the command again later"
    yield errors.ClerkmapError, NOT_FINE, ""
    yield ImportError, CONFIGURATION, ""  # a missing driver: the text says how to install it


def _told(error: Exception, remedy: str) -> str:
    """Return the text of an error, with the next step unless the text has one."""
    from ..errors import ConfigurationError

    said = " ".join(str(error).split()).rstrip(".")
    if type(error) is ConfigurationError:
        said = said.removeprefix(f"{error.text}: ")  # the error may be about an argument
        if not _SETTING.search(said):
            return f"{said}."
    return f"{said}." if "`clerkmap" in said or not remedy else f"{said}. {remedy}."
