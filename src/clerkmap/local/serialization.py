"""Rows as plain JSON and back, checked against the types of their fields.

A file can be damaged, and a request can hold anything: an invalid value raises ValueError with its place.
"""

import sys
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

LARGEST = sys.float_info.max


def to_plain(value: Any) -> Any:
    """Return a value as plain JSON: dataclasses become objects, bytes become text."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: to_plain(each) for name, each in cast(dict[str, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in cast(list[Any], value)]
    return value.decode() if isinstance(value, bytes) else value


def from_plain(hint: Any, value: Any, where: str = "it") -> Any:
    """Return the value of plain JSON, or raise ValueError if it is not of the type."""
    if is_dataclass(hint):
        return _row(hint, value, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (list, tuple) and isinstance(value, list):
        listed = [from_plain(arguments[0], each, where) for each in cast(list[Any], value)]
        return tuple(listed) if origin is tuple else listed
    if origin is dict and isinstance(value, dict):
        return {name: from_plain(arguments[1], each, where) for name, each in cast(dict[str, Any], value).items()}
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        (alone,) = (each for each in arguments if each is not NoneType)
        return from_plain(alone, value, where)
    if origin is Literal and value in arguments:
        return value
    if hint is bytes and isinstance(value, str):
        return value.encode()
    if hint is float:
        if type(value) in (int, float) and abs(value) <= LARGEST:
            return float(value)
    elif hint is Any or (isinstance(hint, type) and type(value) is hint):
        return value
    raise ValueError(f"{where} is not {getattr(hint, '__name__', str(hint))}")


def _row(hint: Any, value: Any, where: str) -> Any:
    hints = hints_of(hint)
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
    said = cast(dict[str, Any], value)
    for name in said:
        if name not in hints:
            raise ValueError(f"{where} has an unknown field {name}")
    try:
        return hint(**{name: from_plain(hints[name], each, f"{where}.{name}") for name, each in said.items()})
    except TypeError:
        raise ValueError(f"{where} is not complete") from None


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Return the types of the fields of a dataclass, or of the arguments of a function."""
    return get_type_hints(kind)
