"""Strict JSON: UTF-8, one object, each key once, no NaN, no infinite number, no great depth.

Two readers of one text must see the same values in it. All other input raises ValueError, and no other exception.
"""

import json
import re
from typing import Any, cast

MAX_DEPTH = 32  # Clerk's objects have six levels; the rest is for custom metadata

# An unterminated string reaches to the end. Possessive quantifiers avoid 120 bytes of backtracking per character.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def read_object(data: bytes, *, max_depth: int = MAX_DEPTH, half_characters: bool = False) -> dict[str, Any]:
    """Read one JSON object, or raise a ValueError that quotes no input.

    JSON can encode half of a surrogate pair, which no database can store. It is refused unless `half_characters` is
    True: then the caller replaces it.
    """
    try:
        text = data.decode("utf-8")
        if text[:1] != "{" or text[-1:] != "}":
            raise ValueError
        if text.count("[") + text.count("{") > max_depth:
            _check_depth(text, max_depth)
        value: dict[str, Any]
        value, end = _DECODER.raw_decode(text)
        if end != len(text):
            raise ValueError
        if "\\u" in text and not half_characters:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on half of a surrogate pair
    except (ValueError, RecursionError):  # UnicodeDecodeError, JSONDecodeError, and integers of too many digits
        raise ValueError("not a strict JSON object in UTF-8") from None
    return value


def items(value: object) -> list[Any]:
    """Return the members of a JSON array, or an empty list for any other value."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def fields(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty dictionary for any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for character in re.sub(r"[^][{}]", "", _STRING.sub("", text)):
        depth += 1 if character in "[{" else -1
        if depth > max_depth:
            raise ValueError("it is nested too deeply")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a duplicate key")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_each_key_once, parse_float=_finite, parse_constant=_no_constant)
