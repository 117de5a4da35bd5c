"""Hostile deliveries: bodies that are not what was signed, and bodies that were signed and are no event."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

from clerkmap.core.deliveries import MAX_BODY
from delivery_base import (
    ABSENT,
    BODY,
    ELSEWHERE,
    GOOD_EVENT,
    ID,
    INSTANCE_ID,
    MALFORMED,
    NOW,
    SIGNATURE,
    TIME,
    TOO_LARGE,
    HostileDelivery,
    event,
    nested,
    of_length,
    signed,
)


def bodies() -> Iterator[HostileDelivery]:
    """All of them."""
    yield from (HostileDelivery(name, signed(), body, code) for name, body, code in unsigned_bodies())
    for size in (MAX_BODY + 1, MAX_BODY * 2):
        yield HostileDelivery(f"a body of {size}", signed(large := of_length(size)), large, TOO_LARGE)
        yield HostileDelivery(f"a body of {size}, and no headers", {}, b"{" * size, TOO_LARGE)
    for name, body in UNREADABLE.items():
        yield HostileDelivery(f"signed body: {name}", signed(body), body, MALFORMED)
    for field, values in FIELDS.items():
        for value in values:
            body = json.dumps(_with(field, value)).encode()
            yield HostileDelivery(
                f"{field}: {repr(value)[:30] if value is not ABSENT else 'absent'}", signed(body), body, MALFORMED
            )
    for instance in ELSE:
        for kind in ("user.created", "robot.built"):
            body = event(instance_id=instance, type=kind)
            yield HostileDelivery(f"{kind} of instance {instance!r}", signed(body), body, ELSEWHERE)


def unsigned_bodies() -> Iterator[tuple[str, Any, str]]:
    """Bodies that came with the signature of the good one."""
    text = BODY.decode()
    for name, other in {
        "indented": json.dumps(GOOD_EVENT, indent=2).encode(),
        "in another order": event(data=dict(reversed(GOOD_EVENT["data"].items()))),
        "in ASCII": json.dumps(GOOD_EVENT).encode(),
        "decomposed": text.replace("ë", "e\u0308").encode(),
        **{f"with {tail!r} at its end": BODY + tail for tail in (b"\r\n", b"\n", b" ", b"\0", b"}", b"{}")},
        **{f"with {head!r} before it": head + BODY for head in (b"\xef\xbb\xbf", b"\n", b" ", b"\0", b"{}")},
        "with CRLF": BODY.replace(b",", b",\r\n"),
        "twice": BODY * 2,
        "cut": BODY[:-1],
        "half": BODY[: len(BODY) // 2],
        "empty": b"",
        "of another person": BODY.replace(b"user_", b"user_A"),
        "of another type": event(type="user.deleted"),
        "banned": BODY.replace(b"false", b"true "),
        "with the id and time before it": f"{ID}.{TIME}.".encode() + BODY,
    }.items():
        yield f"a body changed after signing: {name}", other, SIGNATURE
    for name, other in {
        "UTF-16": text.encode("utf-16"),
        "Latin-1": text.encode("latin-1"),
        "zipped": gzip.compress(BODY),
    }.items():
        yield f"a body recoded after signing: {name}", other, MALFORMED
    for index, odd in enumerate((text, None, 5, [], list(BODY), GOOD_EVENT, memoryview(BODY), object(), True, "")):
        yield f"a body that is no bytes, {index}", odd, MALFORMED


UNREADABLE: dict[str, bytes] = {
    **{
        repr(body): body
        for body in (
            *(
                b"",
                b" ",
                b"{",
                b"}",
                b"{}",
                b"[]",
                b"[{}]",
                b'""',
                b"0",
                b"null",
                b"true",
                b"NaN",
                b"nonsense",
                b"<a/>",
            ),
            *(b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"type=user.created"),
            *(b'{"type"}', b'{"type":}', b'{"a":1,}', b"{'a':1}", b"{a:1}", b"{,}", b'{"a" 1}', b'{"a":"'),
        )
    },
    "an array around it": b"[" + BODY + b"]",
    "a text of it": json.dumps(BODY.decode()).encode(),
    **{
        f"{tail!r} at its end": BODY + tail
        for tail in (b"{}", b"}", b",", b"\0", b";", b"x", b"\x0b", b"\x0c", b"\xa0")
    },
    **{
        f"{head!r} before it": head + BODY
        for head in (b"\xef\xbb\xbf", b"\0", b")]}'\n", b"\x0b", b"\x0c", b"\xc2\xa0", b"//\n")
    },
    **{
        f"a value of {value.decode('latin-1')[:12]!r}": BODY[:-1] + b', "x": ' + value + b"}"
        for value in (
            *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"01", b"+1", b"1.", b".5", b"0x1", b"9" * 4301),
            *(b"True", b"None", b"undefined", b"'a'", b'"\n"', b'"\\x41"', b'"\\u12"', b'"\xff"', b"[1,]", b"/**/1"),
        )
    },
    **{
        f"{name} twice": BODY[:-1] + f', "{name}": {json.dumps(value)}}}'.encode() for name, value in GOOD_EVENT.items()
    },
    "a key twice, once with an escape": BODY[:-1] + b', "\\u0074ype": "user.deleted"}',
    "a key twice, deep inside": event(x="?").replace(b'"?"', b'[{"a": 1, "a": 1}]'),
    **{f"{depth} deep": nested(depth) for depth in (129, 130, 1000, 100_000)},
    "deep, and never closed": BODY[:-1] + b', "x": ' + b"[" * 100_000,
    **{text: content for name in ("utf-16", "utf-32") for text, content in ((name, BODY.decode().encode(name)),)},
    "Latin-1": BODY.decode().encode("latin-1"),
    "zipped": gzip.compress(BODY, mtime=0),
}
FIELDS: dict[str, tuple[Any, ...]] = {
    "type": (
        *(ABSENT, None, "", " ", 5, True, [], ["user.created"], {}, "user created", "user.created\n", "a" * 101),
        *("usér.created", "user-created", "user/created", "\0", "user.created ", "\ud800"),
    ),
    "data": (ABSENT, None, [], [{}], "", "{}", "user_a", 0, 5, True, False, 1.5),
    "timestamp": (
        *(ABSENT, None, "", TIME, str(NOW * 1000), 0, -1, -NOW, 1.5, float(NOW), True, [], [NOW], {}, 10**15, 10**400),
        253_402_300_800_000,
    ),
    "instance_id": (5, 0, True, False, [], [INSTANCE_ID], {}, 1.5),
}
ELSE = (
    "",
    " ",
    "ins_other",
    INSTANCE_ID.upper(),
    INSTANCE_ID + " ",
    INSTANCE_ID + "\n",
    INSTANCE_ID[:-1],
    "\0",
)


def _with(field: str, value: Any) -> dict[str, Any]:
    return {name: each for name, each in {**GOOD_EVENT, field: value}.items() if each is not ABSENT}
