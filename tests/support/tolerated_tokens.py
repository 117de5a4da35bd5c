"""Tokens with nothing wrong, however odd they look: a verifier that refused one of these would be too strict.

Each shows that the hostile tokens beside it are refused for their one fault.
"""

import json

from hostile_base import ABSENT, GOOD, GOOD_PAYLOAD, NOW, ORGANIZATION, session, session_v1, signed_text, written
from hostile_spelling import of_length

TOLERATED: dict[str, str] = {
    "the good token": GOOD,
    "the good token, made from its parts": session(),
    "the good token, made from its text": written(),
    "the good token, signed by hand": signed_text(*GOOD.split(".")[:2]),
    "of version 1": session_v1({}),
    "of version 1, and says so": session_v1({"v": 1}),
    "of version 1, with null for an organization": session_v1({"org_id": None}),
    "as long as can be": of_length(8192),
    "32 deep": session({"x": json.loads("[" * 31 + "]" * 31)}),
    "a thousand brackets in strings": session({"x": "[{" * 500}),
    "many objects side by side": session({"x": [{"y": n} for n in range(100)]}),
    "an integer of 4300 digits": session({"x": 10**4299}),
    "no category": session({}, {"cat": ABSENT}),
    "the category that says nothing": session({}, {"cat": "cl_I7d4PD111III"}),
    "no type": session({}, {"typ": ABSENT}),
    "a header never heard of": session({}, {"oiat": NOW, "x": "y", "z": None}),
    "last moment": session({"exp": NOW - 4, "iat": NOW - 64}),
    "first moment": session({"nbf": NOW + 5, "iat": NOW + 5}),
    "fractions": session({"exp": NOW + 60.5, "iat": NOW - 0.5, "nbf": NOW - 10.25}),
    "exponents": written(payload=json.dumps(GOOD_PAYLOAD)[:-1] + ',"x":1E5,"y":-0.0}'),
    "iat and exp the same": session({"iat": NOW, "exp": NOW}),
    "no nbf": session({"nbf": ABSENT}),
    "no state": session({"sts": ABSENT}),
    "no jti": session({"jti": ABSENT}),
    "no organization": session({"o": ABSENT}),
    "null for an organization": session({"o": None}),
    "null for an actor": session({"act": None}),
    "null for an audience": session({"aud": None}),
    "an organization without slug and role": session({"o": {"id": ORGANIZATION.id}}),
    "grants that are none": session({"fea": 5, "pla": [], "fva": "0,0", "o": {"id": "org_a", "per": 1, "fpm": {}}}),
    "letters of all the world": session({"x": "é😀\u0000\ud83d\ude00", "o": {"id": "org_a", "slg": "münchen"}}),
    "blanks within": written(payload=json.dumps(GOOD_PAYLOAD, indent=4)),
    "escapes": written(payload=json.dumps(GOOD_PAYLOAD).replace("user_", "\\u0075ser_")),
    "the longest ids": session({"sub": "user_" + "a" * 123, "sid": "s" * 128, "o": {"id": "org_" + "a" * 124}}),
}
