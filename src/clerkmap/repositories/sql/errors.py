"""The database's errors as causes of ours: with their class and code, and without their text, which may show a row.

A trigger of the application can raise any code with any text, so no class of errors is without values.
"""

from typing import TypeVar

E = TypeVar("E", bound=BaseException)

_CODES = ("sqlstate", "sqlite_errorname", "sqlite_errorcode")


def without_text(error: E) -> E:
    """Return an error of the same class, with the same code, that shows no value. So is its cause, if it has a code."""
    codes = {name: getattr(error, name) for name in _CODES if hasattr(error, name)}
    code = next((code for code in codes.values() if code is not None), "without a code")
    bare = type(error)(f"{code}; the database's text is left out, since it may show a row")
    for name, value in codes.items():
        setattr(bare, name, value)
    cause = error.__cause__
    if cause is not None and any(hasattr(cause, name) for name in _CODES):
        bare.__cause__ = without_text(cause)
    return bare
