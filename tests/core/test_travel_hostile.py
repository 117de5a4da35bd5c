"""What is no principal that travelled is refused, whatever it is: odd types, missing parts, parts of several people."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerkmap import Principal, PrincipalRefused
from clerkmap.core.serialization import MAX_SIZE
from travellers import principals

PRINCIPALS = principals()
FULL = PRINCIPALS["known in full"]
Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The way to every value within a value."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in pairs:
        yield from places(inner, (*path, name))


def at(whole: Any, path: Path) -> Any:
    """The value in one place."""
    for name in path:
        whole = whole[name]
    return whole


def changed(whole: Any, path: Path, change: Any) -> Any:
    """A copy with another value in one place."""
    whole = copy.deepcopy(whole)
    at(whole, path[:-1])[path[-1]] = change
    return whole


PLACES = [path for path in places(FULL.to_dict()) if path]
INSIDE = [path for path in PLACES if path[:2] != ("claims", "payload") or len(path) == 2]


@pytest.mark.parametrize("path", INSIDE, ids=str)
@pytest.mark.parametrize("odd", [True, 1.5, [], {}, "", -1, {"a": 1}, None, "\ud800"], ids=repr)
def test_an_odd_value_is_refused_or_could_have_been_there(path: Path, odd: object) -> None:
    """In no place does a value of another type get through; None and texts do where they may stand."""
    told = changed(FULL.to_dict(), path, odd)
    try:
        back = Principal.from_dict(told)
    except PrincipalRefused:
        return
    assert back.to_dict() == told
    kept = at(FULL.to_dict(), path)
    assert odd is None or kept is None or isinstance(odd, type(kept)) or path[-1] == "id"


@pytest.mark.parametrize("path", [path for path in INSIDE if isinstance(path[-1], str)], ids=str)
def test_a_part_that_is_missing_or_one_too_many_is_refused(path: Path) -> None:
    """Nothing is filled in, and nothing is passed over."""
    told = FULL.to_dict()
    part = at(told, path[:-1])
    value = part.pop(path[-1])
    with pytest.raises(PrincipalRefused):
        Principal.from_dict(told)
    part[path[-1]] = value
    assert Principal.from_dict(told) == FULL
    part["more"] = None
    if path[:-1] != ("claims", "payload"):
        with pytest.raises(PrincipalRefused):
            Principal.from_dict(told)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("version",), True),
        (("claims", "kind"), "m2m"),
        (("claims", "kind"), "oauth"),
        (("claims", "instance"), "clerk.example.com"),
        (("claims", "payload", "iss"), None),
        (("claims", "payload", "sub"), "user_somebodyelse"),
        (("claims", "payload", "sid"), 1),
        (("claims", "payload", "o"), None),
        (("claims", "payload", "o", "id"), "org_another"),
        (("claims", "payload", "exp"), 0),
        (("organization",), None),
        (("membership",), None),
        (("user", "clerk", "instance"), "clerk.example.com"),
        (("user", "clerk", "key"), "0" * 32),
        (("user", "clerk", "banned"), True),
        (("user", "deleted_at"), 1),
        (("user", "id"), True),
        (("user", "clerk", "rank"), "3" + FULL.user.clerk.rank[1:]),
        (("user", "clerk", "rank"), FULL.user.clerk.rank + "\n"),
        (("user", "clerk", "public_metadata"), "[]"),
        (("user", "clerk", "public_metadata"), '{"a":1,"a":2}'),
        (("organization", "clerk", "key"), "0" * 32),
        (("organization", "clerk", "instance"), "clerk.example.com"),
        (("membership", "clerk", "user_key"), "0" * 32),
        (("membership", "clerk", "organization_key"), "0" * 32),
        (("membership", "clerk", "instance"), "clerk.example.com"),
    ],
    ids=str,
)
def test_what_could_never_have_been_admitted_is_refused(path: Path, value: object) -> None:
    """Another person's claims, another organization's membership, somebody deleted or banned: none is a principal."""
    with pytest.raises(PrincipalRefused):
        Principal.from_dict(changed(FULL.to_dict(), path, value))


def test_an_organization_that_the_claims_do_not_name_is_refused() -> None:
    """Nobody gets into an organization by writing it beside their claims."""
    told, with_one = PRINCIPALS["without an organization"].to_dict(), FULL.to_dict()
    with pytest.raises(PrincipalRefused, match="belong to different principals"):
        Principal.from_dict(told | {name: with_one[name] for name in ("organization", "membership")})


def circle() -> dict[str, Any]:
    """A dictionary within itself."""
    round: dict[str, Any] = {}
    round["a"] = round
    return round


def abyss() -> dict[str, Any]:
    """A dictionary deeper than any reader goes."""
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"": deep}
    return deep


class Odd(dict[str, Any]):
    """A dictionary that is none."""


@pytest.mark.parametrize(
    "value",
    [
        *(None, "text", b"{}", [], {}, Odd(FULL.to_dict()), FULL, circle()),
        *({"a": {1, 2}}, {"a": float("nan")}, {(1,): 1}, {"a": "x" * MAX_SIZE}),
        changed(FULL.to_dict(), ("claims", "payload", "big"), 10**5000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_plain_json_is_refused(value: object) -> None:
    """Odd types, circles, numbers and texts beyond all bounds: one error, which quotes nothing."""
    with pytest.raises(PrincipalRefused):
        Principal.from_dict(value)


def test_a_bottomless_value_is_refused() -> None:
    """However deep it is, and also where only the claims are too deep for a token."""
    deep: Any = None
    for _ in range(40):
        deep = [deep]
    for value in (abyss(), changed(FULL.to_dict(), ("claims", "payload", "deep"), deep)):
        with pytest.raises(PrincipalRefused):
            Principal.from_dict(value)


def test_who_is_too_large_is_refused() -> None:
    """However well it is written. Just below the bound it is read."""
    size = len(json.dumps(FULL.to_dict(), separators=(",", ":")))
    kept = FULL.user.clerk.first_name
    assert kept is not None
    for more, fits in ((MAX_SIZE - size, True), (MAX_SIZE - size + 1, False)):
        told = changed(FULL.to_dict(), ("user", "clerk", "first_name"), kept + "x" * more)
        if fits:
            assert Principal.from_dict(told).to_dict() == told
        else:
            with pytest.raises(PrincipalRefused, match="characters"):
                Principal.from_dict(told)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
)


@given(anything)
def test_anything_at_all_is_refused(value: object) -> None:
    """Nothing but a `PrincipalRefused` comes out, whatever goes in."""
    with pytest.raises(PrincipalRefused):
        Principal.from_dict(value)


@given(st.sampled_from(PLACES), anything)
def test_anything_in_any_place_is_refused_or_read(path: Path, value: object) -> None:
    """The same within a real one. What is read can be written again, and is the same then."""
    try:
        back = Principal.from_dict(changed(FULL.to_dict(), path, value))
    except PrincipalRefused:
        return
    assert Principal.from_dict(back.to_dict()) == back
    assert repr(back)


def test_nothing_personal_is_in_an_error() -> None:
    """A refusal tells what kind of thing was wrong, and quotes nothing of it."""
    for path in INSIDE:
        with pytest.raises(PrincipalRefused) as caught:
            Principal.from_dict(changed(FULL.to_dict(), path, {"ann@example.com": 1}))
        assert "ann@" not in f"{caught.value!r}{caught.value}"
