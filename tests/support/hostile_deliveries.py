"""The table of hostile deliveries: each must be refused, with exactly its code, and nothing may come of it.

Each has one fault, and all else about it is as good as it can be: where a signature could be made, it is a good one.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import Any

from delivery_base import (
    BODY,
    GOOD_SIGNATURE,
    HEADERS,
    ID,
    JUNK,
    NOW,
    OUT_OF_TIME,
    PARTS,
    SECRETS,
    SIGNATURE,
    STRANGERS,
    TIME,
    WEBHOOK,
    HostileDelivery,
    event,
    sign,
    signed,
    with_signature,
)
from hostile_bodies import bodies

GOOD = signed()
BASE64 = GOOD_SIGNATURE.removeprefix("v1,")
RAW = b64decode(BASE64)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
SPARE = BASE64[:-2] + ALPHABET[ALPHABET.index(BASE64[-2]) ^ 1] + "="  # the same bytes, spelled otherwise
SOME = [subset for size in (1, 2) for subset in combinations(PARTS, size)]
NAMES = (
    *("svix_{}", "x-svix-{}", "svix-{} ", " svix-{}", "svix{}", "svix--{}", "svix-{}:", "clerk-{}", "HTTP_SVIX_{}"),
    *("svix-{}\0", "sv\u0131x-{}", "\uff53vix-{}", "svix\u2010{}", "svix-{}s"),
)
ODD: tuple[Any, ...] = (None, 5, 1.5, True, ["a"], ("a", "b"), {"a": "b"}, bytearray(b"a"), memoryview(b"a"), {"a"})
SHAPES: tuple[Any, ...] = (None, 5, True, "svix-id: a", b"svix-id: a", ["svix-id"], [("svix-id",)], [None], [5], [()])
SHAPES = (*SHAPES, [("svix-id", ID, "more")], dict, object(), list(GOOD))


def headers() -> Iterator[tuple[str, Any]]:
    """Headers that are not one family, complete, each once."""
    yield from (("none", {}), ("no pairs", []), ("only others", {"host": "a", "content-type": "application/json"}))
    for family, good in (("svix", GOOD), ("webhook", WEBHOOK)):
        for some in SOME:
            yield f"only {some} of {family}", {f"{family}-{part}": good[f"{family}-{part}"] for part in some}
        for part in PARTS:
            name = f"{family}-{part}"
            for value in (good[name], "a", ""):
                yield f"{name} twice, then {value[:9]!r}", [*good.items(), (name, value)]
                yield f"{name} twice, first {value[:9]!r}", [(name.upper(), value), *good.items()]
            yield f"{name} in two cases", {**good, name.title(): good[name]}
            yield f"{name} as text and as bytes", {**good, name.encode(): good[name]}
            for index, odd in enumerate(ODD):
                yield f"{name} is odd, {index}", {**good, name: odd}
    for some in SOME:
        rest = {f"webhook-{part}": WEBHOOK[f"webhook-{part}"] for part in PARTS if part not in some}
        ours = {f"svix-{part}": GOOD[f"svix-{part}"] for part in some}
        yield f"{some} of svix, the rest of webhook", {**ours, **rest}
        yield f"{some} of svix before a whole webhook", {**ours, **WEBHOOK}
    for part in PARTS:
        for name in NAMES:
            yield f"{name!r} for {part}", {**_without(part), name.format(part): GOOD[f"svix-{part}"]}
    # U+212A, the sign of the kelvin, is a k in lower case.
    yield "a kelvin in the names", {name.replace("k", "\u212a"): value for name, value in WEBHOOK.items()}
    for odd in (None, 5, ("svix-id",), frozenset("a")):
        yield f"a name that is {odd!r}", {**GOOD, odd: "a"}
    for index, shape in enumerate(SHAPES):
        yield f"no headers at all, {index}", shape
    yield "a signature of 8193 characters", with_signature(GOOD_SIGNATURE.ljust(8193))
    yield "100,000 signatures", with_signature(" ".join([GOOD_SIGNATURE] * 100_000))


def _without(part: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != f"svix-{part}"}


def ids() -> Iterator[str]:
    """Ids that could be read in two ways, or written to a log in none."""
    yield from (
        "",
        ".",
        f".{ID}",
        f"{ID}.",
        f"{ID}.{TIME}",
        f"msg.{ID}",
        "m" * 129,
        "m" * 8192,
        "m" * 8193,
        f"{ID}, {ID}",
    )
    yield from (f"msg_{chr(code)}a" for code in (*range(0x21), 0x7F, 0x85, 0xA0, 0x2028))
    yield from (f"msg_a{character}" for character in "\n\r\0 !\"#$%&'()*+,/:;<=>?@[\\]^`{|}~")
    yield from ("msg_é", "msg_٣", "msg_１", "mѕg_a", "msg_😀", "msg_\u200b", "msg_\ud800", "ＭＳＧ")


def timestamps() -> Iterator[str]:
    """Times that are not ten plain digits."""
    yield from (f"{NOW}.0", f"{NOW}.", f"{NOW}.5", ".5", "1.79e9", "1.79E9", f"{NOW}e0", "179e7", f"+{NOW}", f"-{NOW}")
    yield from ("1_790_000_000", "1,790,000,000", "1 790 000 000", f"0{NOW}", f"00{NOW}", "0790000000", f"{NOW}000")
    yield from (f"{NOW}000000", "", " ", "0", "-0", "-1", "1", "999999999", "17900000000", "9" * 8192, "9" * 8193)
    yield from ("nan", "NaN", "inf", "-inf", "Infinity", "None", "null", "now", "true", hex(NOW), f"{NOW}n", f"{NOW}L")
    yield from ("١٧٩٠٠٠٠٠٠٠", "１７９０００００００", "1７90000000", "१७९०००००००", "179000000²", "2026-09-21T14:13:20Z")
    for blank in (" ", "\t", "\n", "\r\n", "\0", "\x0b", "\xa0", "\u200b", "\ufeff"):
        yield from (f"{NOW}{blank}", f"{blank}{NOW}")
    yield from (f'"{NOW}"', f"({NOW})", f"{NOW};", f"{NOW},", f"{NOW}, {NOW}", f"{NOW}\ud800")


SKEWS = (301, 302, 330, 360, 600, 3600, 7200, 86_400, 31_536_000, 790_000_000)

OTHERS = {
    "another id": sign(SECRETS[0], "msg_other", TIME, BODY),
    "an id in lower case": sign(SECRETS[0], ID.lower(), TIME, BODY),
    "another time": sign(SECRETS[0], ID, str(NOW - 1), BODY),
    "the time as a float": sign(SECRETS[0], ID, f"{NOW}.0", BODY),
    "another body": sign(SECRETS[0], ID, TIME, event(type="user.deleted")),
    "no body": sign(SECRETS[0], ID, TIME, b""),
    "a body with a line more": sign(SECRETS[0], ID, TIME, BODY + b"\n"),
    "a secret of a stranger": sign(STRANGERS[0], ID, TIME, BODY),
    "another secret of a stranger": sign(STRANGERS[1], ID, TIME, BODY),
    "the secret's text": sign(f"whsec_{b64encode(SECRETS[0].encode()).decode()}", ID, TIME, BODY),
    "the empty secret": sign("whsec_", ID, TIME, BODY),
    "the parts in another order": sign(SECRETS[0], TIME, ID, BODY),
}


def signatures() -> Iterator[tuple[str, Any]]:
    """Signature headers with no good signature among the first sixteen."""
    yield from ((f"made for {name}", text) for name, text in OTHERS.items())
    yield "two for other things", " ".join(list(OTHERS.values())[:2])
    yield "the 17th", " ".join([JUNK] * 16 + [GOOD_SIGNATURE])
    yield "the 17th, after nothing", " " * 16 + GOOD_SIGNATURE
    yield "the 33rd", " ".join([JUNK] * 32 + [GOOD_SIGNATURE])
    for text in (
        "",
        " ",
        ",",
        "v1",
        "v1,",
        "v1,=",
        "v1,====",
        "v1, ",
        " " * 100,
        "=",
        "null",
        "v1,null",
        "\xe9",
        "\ud800",
    ):
        yield f"only {text!r}", text
    for version in (
        "",
        "v",
        "1",
        "v0",
        "v1a",
        "v2",
        "V1",
        "v11",
        "v1 ",
        " v1 ",
        "v1\t",
        "v１",
        "ѵ1",
        "hmac",
        "v1.0",
        "sha256",
    ):
        yield f"of version {version!r}", f"{version},{BASE64}"
    for between in ("", ";", ":", "=", ".", ",,", ", ", " ,", ",\t", ",\n", "،", "，"):
        yield f"{between!r} for a comma", f"v1{between}{BASE64}"
    for around in ("\t", "\n", "\r\n", "\0", ",", ";", '"', "'", "\xa0", "\u200b", "\ufeff", "=", "A", "!", "@"):
        yield f"{around!r} before it", f"{around}{GOOD_SIGNATURE}"
        yield f"{around!r} after it", f"{GOOD_SIGNATURE}{around}"
        yield f"{around!r} inside", f"{GOOD_SIGNATURE[:20]}{around}{GOOD_SIGNATURE[20:]}"
        if around != "=":
            yield f"{around!r} between two", f"{GOOD_SIGNATURE}{around}{GOOD_SIGNATURE}"
    yield from ((f"cut to {length}", GOOD_SIGNATURE[:length]) for length in (4, 5, 10, 20, 35, 40, 45, 46))
    yield from ((f"without its first {length}", f"v1,{BASE64[length:]}") for length in (1, 4, 20, 43))
    for index in range(0, 43, 6):
        other = "A" if BASE64[index] != "A" else "B"
        yield f"another letter at {index}", f"v1,{BASE64[:index]}{other}{BASE64[index + 1 :]}"
    yield "the same bytes, spelled otherwise", f"v1,{SPARE}"
    yield "url-safe", "v1," + b64encode(RAW).decode().replace("+", "-").replace("/", "_").replace("=", "-")
    yield "padded twice", f"{GOOD_SIGNATURE}="
    yield "in hexadecimal", f"v1,{RAW.hex()}"
    yield "in lower case", GOOD_SIGNATURE.lower()
    yield "backwards", f"v1,{BASE64[-2::-1]}="
    yield "in base64 twice", f"v1,{b64encode(BASE64.encode()).decode()}"
    yield "full-width", "v1," + "".join(chr(ord(letter) + 0xFEE0) for letter in BASE64)


@cache
def hostile_deliveries() -> tuple[HostileDelivery, ...]:
    """All of them, in an order that never changes."""
    return tuple(_all())


def _all() -> Iterator[HostileDelivery]:
    yield from (HostileDelivery(f"headers: {name}", each, BODY, HEADERS) for name, each in headers())
    yield from (HostileDelivery(f"id: {id[:40]!r}, {len(id)}", signed(id=id), BODY, HEADERS) for id in ids())
    for text in timestamps():
        yield HostileDelivery(f"timestamp: {text[:30]!r}, {len(text)}", signed(timestamp=text), BODY, HEADERS)
    for skew in (*SKEWS, *(-skew for skew in SKEWS)):
        yield HostileDelivery(f"off by {skew} seconds", signed(timestamp=str(NOW + skew)), BODY, OUT_OF_TIME)
    yield from (
        HostileDelivery(f"signature: {name}", with_signature(text), BODY, SIGNATURE) for name, text in signatures()
    )
    late = signed(timestamp=str(NOW - 301))
    yield HostileDelivery("a forged family before a good one", {**with_signature(JUNK), **WEBHOOK}, BODY, SIGNATURE)
    yield HostileDelivery("a late family before a good one", {**late, **WEBHOOK}, BODY, OUT_OF_TIME)
    yield from bodies()
