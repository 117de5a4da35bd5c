"""Hostile tokens: well signed, and with claims that cannot be true."""

from collections.abc import Iterator
from typing import Any

from hostile_base import (
    ABSENT,
    EARLY,
    EXPIRED,
    FUTURE,
    GOOD_PAYLOAD,
    INVALID,
    MACHINE,
    MALFORMED,
    MISSING,
    NOW,
    OAUTH,
    TEMPLATE,
    USER,
    VERSION,
    Hostile,
    session,
    session_v1,
)

NO_TEXT: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "an integer": 17,
    "a float": 1.5,
    "an empty list": [],
    "a list": ["a"],
    "an empty object": {},
    "an object": {"a": "b"},
}
# For claims that must be text of some length: these are not.
POOR_TEXT = {
    "empty": "",
    "a blank": " ",
    "an ideographic blank": "\u3000",
    "a NUL": "\0",
    "a newline": "a\nb",
    "an escape character": "a\x1b[31mb",
    "a zero-width space": "a\u200bb",
    "an override of direction": "a\u202eb",
    "a soft hyphen": "a\u00adb",
    "a character never assigned": "a\uffffb",
    "5000 characters": "a" * 5000,
}
SUBJECTS = {
    "no prefix": USER.id.removeprefix("user_"),
    "the prefix alone": "user_",
    "a prefix in upper case": "USER_" + USER.id[5:],
    "a blank in front": " " + USER.id,
    "a blank behind": USER.id + " ",
    "a newline behind": USER.id + "\n",
    "a NUL behind": USER.id + "\0",
    "a blank within": "user_a b",
    "a Cyrillic letter": "user_\u0430",
    "a Cyrillic letter in the prefix": "u\u0455er_a",
    "a full-width letter": "user_\uff21",
    "an accent": "user_\u00e9",
    "an accent, decomposed": "user_e\u0301",
    "a zero-width joiner": "user_a\u200db",
    "Arabic digits": "user_\u0663",
    "SQL": "user_' OR '1'='1",
    "SQL with a comment": "user_a';--",
    "a path": "user_../../a",
    "a percent sign": "user_%41",
    "a dot": "user_a.b",
    "a colon": "user_a:b",
    "an organization": "org_a",
    "a session": "sess_a",
    "a client": "client_a",
    "two, joined by a comma": "user_a,user_b",
    "124 characters after the prefix": "user_" + "a" * 124,
    "a machine in upper case": "MCH_a",
}
SESSIONS = {
    "a blank within": "sess_a b",
    "a newline behind": "sess_a\n",
    "a Cyrillic letter": "sess_\u0430",
    "SQL": "sess_'--",
    "a slash": "sess_a/b",
    "129 characters": "s" * 129,
}
NO_TIME: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "text": str(NOW + 60),
    "text with blanks and underscores": " 9_999_999_999 ",
    "text of Arabic digits": "\u0661\u0667\u0669\u0660\u0660\u0660\u0660\u0660\u0660\u0660",
    "a date": "2026-09-21T14:13:20Z",
    "empty text": "",
    "an empty list": [],
    "a list": [NOW + 60],
    "an empty object": {},
    "an object": {"$date": NOW + 60},
    "zero": 0,
    "zero, as a float": 0.0,
    "minus zero": -0.0,
    "minus one": -1,
    "a negative float": -1.5,
    "the year 10000": 253_402_300_800,
    "half a second too late": 253_402_300_799.5,
    "milliseconds": (NOW + 60) * 1000,
    "2**63": 2**63,
    "-2**63": -(2**63),
    "2**64": 2**64,
    "1e308": 1e308,
    "4300 digits": 10**4299,
}
NO_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}

# What cannot be true of a version 2 token, of its organization, of its actor.
VERSIONS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    3,
    -2,
    22,
    2.0,
    1.0,
    "2",
    "1",
    "v2",
    "",
    [],
    [2],
    {},
    {"v": 2},
    10**20,
)
STATES: tuple[Any, ...] = (None, True, 0, 1, "", " ", "Active", "ACTIVE", "active ", "PENDING", "ended", "expired")
MORE_STATES: tuple[Any, ...] = ("revoked", "removed", "abandoned", "replaced", [], ["active"], {}, {"active": True})
ORGANIZATIONS: tuple[Any, ...] = ("", "org_a", True, False, 0, 17, 1.5, [], [{"id": "org_a"}], {}, {"slg": "acme"})
ORGANIZATION_IDS: tuple[Any, ...] = (
    *(
        True,
        0,
        [],
        ["org_a"],
        {},
        "",
        " ",
        "org_",
        "ORG_a",
        "acme",
        "user_a",
        "org_a b",
        "org_a\0",
        "org_a\n",
        " org_a",
    ),
    *("org_\u0430", "org_\u00e9", "org_'--", "org_a/b", "org_" + "a" * 125),
)
LABELS: tuple[Any, ...] = (True, False, 0, 17, [], ["admin"], {}, "\0", "a\nb", "a\u200bb", "a\u202eb", "a" * 256)
ACTORS: tuple[Any, ...] = ("", "user_a", True, False, 0, 17, [], ["user_a"], [{"sub": "user_a"}])


def tokens() -> Iterator[Hostile]:
    yield from _texts()
    yield from _times()
    yield from _boundaries()
    yield from _versions_and_states()
    yield from _organizations()
    yield from _actors()


def _texts() -> Iterator[Hostile]:
    for claim, odd in (("sub", SUBJECTS), ("sid", SESSIONS), ("azp", {})):
        for name, value in {**NO_TEXT, **POOR_TEXT, **odd}.items():
            yield Hostile(f"{claim}: {name}", session({claim: value}), INVALID)
    yield Hostile("sub: missing", session({"sub": ABSENT}), MISSING)
    yield Hostile("sub: a machine", session({"sub": "mch_a"}), MACHINE)
    yield Hostile("sub: a machine's prefix", session({"sub": "mch_"}), MACHINE)
    yield Hostile("sid: missing", session({"sid": ABSENT}), TEMPLATE)  # as of every token made from a template
    for name, value in NO_TEXT.items():
        yield Hostile(f"jti: {name}", session({"jti": value}), INVALID)
    for name, value in {**NO_TEXT, "text": "client_a", "empty": ""}.items():
        yield Hostile(f"client_id: {name}", session({"client_id": value}), OAUTH)


def _times() -> Iterator[Hostile]:
    for claim in ("exp", "iat", "nbf"):
        for name, value in NO_TIME.items():
            yield Hostile(f"{claim}: {name}", session({claim: value}), INVALID)
        for name, value in NO_NUMBERS.items():
            yield Hostile(f"{claim}: {name}", session({claim: value}), MALFORMED)
    for claim in ("exp", "iat"):
        yield Hostile(f"{claim}: missing", session({claim: ABSENT}), MISSING)
    yield Hostile("exp before iat", session({"iat": NOW, "exp": NOW - 1}), INVALID)
    yield Hostile("exp long before iat", session({"iat": NOW, "exp": 1}), INVALID)


def _boundaries() -> Iterator[Hostile]:
    """The leeway is five seconds. A token ends at its last moment, and begins at its first."""
    born = {"iat": NOW - 600, "nbf": NOW - 600}
    for ago in (5, 6, 7, 60, 599):
        yield Hostile(f"expired {ago} seconds ago", session({**born, "exp": NOW - ago}), EXPIRED)
    yield Hostile("expired 5.5 seconds ago", session({**born, "exp": NOW - 5.5}), EXPIRED)
    yield Hostile("expired in 1970", session({"iat": 1, "nbf": 1, "exp": 1}), EXPIRED)
    yield Hostile("expired, and never begun", session({**born, "nbf": NOW + 60, "exp": NOW - 60}), EXPIRED)
    for ahead in (6, 7, 60, 10**6):
        later = NOW + 10**6 + 60
        yield Hostile(f"begins in {ahead} seconds", session({"nbf": NOW + ahead, "exp": later}), EARLY)
        yield Hostile(f"issued in {ahead} seconds", session({"iat": NOW + ahead, "exp": later}), FUTURE)
    yield Hostile("begins and issued later", session({"nbf": NOW + 30, "iat": NOW + 30}), EARLY)
    yield Hostile("begins after it ends", session({"nbf": NOW + 120}), EARLY)
    yield Hostile("begins in the year 9999", session({"nbf": 253_402_300_799}), EARLY)
    last = {"iat": 253_402_300_799, "exp": 253_402_300_799}
    yield Hostile("issued in the year 9999", session(last), FUTURE)
    yield Hostile(
        "expired, of a foreign party", session({**born, "exp": NOW - 60, "azp": "https://evil.example"}), EXPIRED
    )
    yield Hostile("expired, and pending", session({**born, "exp": NOW - 60, "sts": "pending"}), EXPIRED)


def _versions_and_states() -> Iterator[Hostile]:
    for value in VERSIONS:
        yield Hostile(f"v: {value!r}", session({"v": value}), VERSION)
        yield Hostile(f"v: {value!r}, with claims of version 1", session_v1({"v": value}), VERSION)
    for value in (*STATES, *MORE_STATES):
        yield Hostile(f"sts: {value!r}", session({"sts": value}), INVALID)


def _organizations() -> Iterator[Hostile]:
    for value in ORGANIZATIONS:
        yield Hostile(f"o: {value!r}", session({"o": value}), INVALID)
    yield Hostile("o: without an id", session({"o": {**GOOD_PAYLOAD["o"], "id": None}}), INVALID)
    for value in ORGANIZATION_IDS:
        yield Hostile(f"o.id: {str(value)[:20]!r}", session({"o": {**GOOD_PAYLOAD["o"], "id": value}}), INVALID)
        yield Hostile(f"org_id: {str(value)[:20]!r}", session_v1({"org_id": value}), INVALID)
    for value in LABELS:
        name = repr(value)[:20]
        for member, claim in (("slg", "org_slug"), ("rol", "org_role")):
            yield Hostile(f"o.{member}: {name}", session({"o": {**GOOD_PAYLOAD["o"], member: value}}), INVALID)
            yield Hostile(f"{claim}: {name}", session_v1({claim: value}), INVALID)


def _actors() -> Iterator[Hostile]:
    for value in ACTORS:
        yield Hostile(f"act: {value!r}", session({"act": value}), INVALID)
    yield Hostile("act: without sub", session({"act": {"iss": "https://dashboard.clerk.com"}}), MISSING)
    yield Hostile("act: an empty object", session({"act": {}}), MISSING)
    for name, value in {**NO_TEXT, **POOR_TEXT}.items():
        yield Hostile(f"act.sub: {name}", session({"act": {"sub": value}}), INVALID)
    for name, value in NO_TEXT.items():
        yield Hostile(f"act.type: {name}", session({"act": {"sub": "user_a", "type": value}}), INVALID)
