"""What a token grants: permissions, features, plans, and how lately the person proved who they are.

Read as narrowly as it can be read. A grant that is malformed is no grant, and nothing here raises.
"""

import re
from collections.abc import Mapping
from typing import Literal, get_args

FactorLevel = Literal["first_factor", "second_factor", "multi_factor"]

# Clerk's presets: how long ago, in minutes, which factor must have been shown at the latest.
REVERIFICATION: Mapping[str, tuple[FactorLevel, int]] = {
    "strict_mfa": ("multi_factor", 10),
    "strict": ("second_factor", 10),
    "moderate": ("second_factor", 60),
    "lax": ("second_factor", 1440),
}
_MASK = re.compile(r"[0-9]{1,400}")
_SCOPES = {"o": "o", "org": "o", "organization": "o", "u": "u", "user": "u"}


def is_fresh(ages: tuple[int, int] | None, wanted: str | tuple[FactorLevel, int]) -> bool:
    """Whether factors of these ages, in minutes, are as fresh as a preset, or a level and its minutes, wants."""
    preset = REVERIFICATION.get(wanted) if isinstance(wanted, str) else wanted
    if ages is None or not isinstance(preset, tuple) or len(preset) != 2:
        return False
    level, minutes = preset
    if level not in get_args(FactorLevel) or type(minutes) is not int:
        return False
    first, second = (age != -1 and age < minutes for age in ages)
    if level == "first_factor" or ages[1] == -1:
        return first  # who has no second factor is asked for the first
    if level == "second_factor":
        return second
    return first and second


def permissions_in(features: object, names: object, masks: object) -> frozenset[str]:
    """The permissions that a version 2 token spells as bit masks.

    Bit j of a mask stands for the j-th name. Which feature the i-th mask belongs to is told in two ways: the i-th of
    all, or the i-th of those that belong to the organization. Where the two differ, only what both grant is granted.
    """
    listed = [_scope_and_slug(item) for item in _items(features)]
    of_organization = [feature for feature in listed if feature is not None and "o" in feature[0]]
    bits = [int(mask) if _MASK.fullmatch(mask) else 0 for mask in _items(masks)]
    words = _items(names)

    def read(lined_up: list[tuple[str, str] | None] | list[tuple[str, str]]) -> frozenset[str]:
        return frozenset(
            f"org:{feature[1]}:{word}"
            for feature, mask in zip(lined_up, bits, strict=False)
            if feature is not None and "o" in feature[0]
            # No further than the mask goes: features times words would be more than linear in the token's size.
            for position, word in enumerate(words[: mask.bit_length()])
            if word and mask >> position & 1
        )

    return read(listed) & read(of_organization)


def _items(value: object) -> list[str]:
    return [item.strip() for item in value.split(",")] if isinstance(value, str) and value else []


def _scope_and_slug(item: str) -> tuple[str, str] | None:
    scope, colon, slug = item.partition(":")
    return (scope, slug) if colon and slug and scope in ("o", "u", "ou", "uo") else None


def scoped(value: object) -> frozenset[str]:
    pairs = [pair for pair in map(_scope_and_slug, _items(value)) if pair is not None]
    return frozenset(f"{letter}:{slug}" for scope, slug in pairs for letter in scope)


def grants(held: frozenset[str], wanted: object) -> bool:
    if not isinstance(wanted, str) or not wanted:
        return False
    scope, colon, slug = wanted.rpartition(":")
    if not colon:
        return f"o:{slug}" in held or f"u:{slug}" in held
    return scope in _SCOPES and f"{_SCOPES[scope]}:{slug}" in held


def prefixed(name: str) -> str:
    while name.startswith("org:"):
        name = name[4:]
    return f"org:{name}"
