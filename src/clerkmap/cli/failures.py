"""How a command ends: the exit codes, for cron and for CI; and the line that it says when it could not do its work."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FINE = 0
NOT_FINE = 1  # it has done its work, and what it found is not as it should be
USAGE = 2  # click's own
CONFIGURATION = 3
UNAVAILABLE = 4
INTERRUPTED = 130

# What the doctor looks at.
_SETTING = re.compile(r"CLERK(MAP)?_[A-Z]|--database")


def failure_of(error: Exception) -> tuple[str, int] | None:
    """Return the line for people, and the exit code for programs; None for an error that is not clerkmap's."""
    for kind, code, remedy in _ends():
        if isinstance(error, kind) and (kind is not ImportError or "pip install" in str(error)):
            return _told(error, remedy), code
    return None


def _ends() -> "Iterator[tuple[type[BaseException], int, str]]":
    """Yield classes of errors, the first that fits counts: how the command ends, and what to do next."""
    from .. import errors  # imported here: `clerkmap --help` does not load the errors

    yield errors.ApiKeyRefused, CONFIGURATION, ""
    yield errors.WrongInstance, CONFIGURATION, ""
    yield errors.ConfigurationError, CONFIGURATION, "`clerkmap doctor` looks at all of it"
    yield errors.ApiUnavailable, UNAVAILABLE, "Run the same again later; `clerkmap doctor` tells more"
    yield errors.KeysUnavailable, UNAVAILABLE, "Set CLERK_JWT_KEY, or see with `clerkmap doctor` what is in the way"
    yield errors.CommitUnknown, UNAVAILABLE, ""
    yield errors.RepositoryUnavailable, UNAVAILABLE, "See whether it is up, and named rightly: `clerkmap doctor`"
    yield errors.ApiError, UNAVAILABLE, "`clerkmap doctor` may tell more; Clerk's support asks for the trace"
    yield errors.Unavailable, UNAVAILABLE, "Run the same again later"
    yield errors.ClerkmapError, NOT_FINE, ""
    yield ImportError, CONFIGURATION, ""  # a missing driver: the text says how to install it


def _told(error: Exception, remedy: str) -> str:
    """What happened and what to do. Some texts say already what to do."""
    from ..errors import ConfigurationError

    said = " ".join(str(error).split()).rstrip(".")
    if type(error) is ConfigurationError:
        said = said.removeprefix(f"{error.text}: ")  # it may be an argument that is wrong
        if not _SETTING.search(said):
            return f"{said}."
    return f"{said}." if "`clerkmap" in said or not remedy else f"{said}. {remedy}."
