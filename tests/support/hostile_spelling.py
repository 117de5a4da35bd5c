"""Hostile tokens: what is no text, no three parts, no canonical base64url, or too much of it."""

import json
from collections.abc import Iterator
from typing import Any

from hostile_base import (
    CLERK,
    GOOD,
    HEADER_PART,
    MALFORMED,
    PAYLOAD_PART,
    SIGNATURE_PART,
    TOO_LARGE,
    Hostile,
    decode,
    encode,
    resigned,
    session,
    signed_text,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PARTS = ("header", "payload", "signature")

NO_TEXT: dict[str, Any] = {
    "None": None,
    "True": True,
    "zero": 0,
    "an integer": 17,
    "a float": 1.5,
    "bytes": GOOD.encode(),
    "a bytearray": bytearray(GOOD.encode()),
    "a memoryview of bytes": memoryview(GOOD.encode()),
    "a memoryview of a bytearray": memoryview(bytearray(GOOD.encode())),
    "an empty list": [],
    "a list of parts": GOOD.split("."),
    "a tuple": (GOOD,),
    "a tuple with a list": ([GOOD],),
    "a dict": {"token": GOOD},
    "a set": {GOOD},
    "a bare object": object(),
    "a class": str,
}

SHAPES: dict[str, str] = {
    "an empty string": "",
    "one dot": ".",
    "two dots": "..",
    "three dots": "...",
    "a thousand dots": "." * 1000,
    "a word": "undefined",
    "one part": HEADER_PART,
    "two parts": f"{HEADER_PART}.{PAYLOAD_PART}",
    "no header": f".{PAYLOAD_PART}.{SIGNATURE_PART}",
    "no payload": f"{HEADER_PART}..{SIGNATURE_PART}",
    "no signature": f"{HEADER_PART}.{PAYLOAD_PART}.",
    "a header alone, with dots": f"{HEADER_PART}..",
    "a dot before": f".{GOOD}",
    "a dot after": f"{GOOD}.",
    "a dot doubled": f"{HEADER_PART}..{PAYLOAD_PART}.{SIGNATURE_PART}",
    "a fourth part": f"{GOOD}.{SIGNATURE_PART}",
    "five parts, as of a JWE": f"{HEADER_PART}.{SIGNATURE_PART}.{PAYLOAD_PART}.{PAYLOAD_PART}.{SIGNATURE_PART}",
    "five parts, three empty": f"{HEADER_PART}....{SIGNATURE_PART}",
    "twice": GOOD + GOOD,
    "two, joined by a comma": f"{GOOD},{GOOD}",
    "two, joined by a blank": f"{GOOD} {GOOD}",
    "with its scheme": f"Bearer {GOOD}",
    "in quotes": f'"{GOOD}"',
    "in angle brackets": f"<{GOOD}>",
    "dots percent-encoded": GOOD.replace(".", "%2E"),
    "dots as colons": GOOD.replace(".", ":"),
    "upper case": GOOD.upper(),
    "reversed": GOOD[::-1],
    "an opaque machine token": "mt_" + "0123456789abcdef" * 2,
    "an opaque OAuth token": "oat_" + "0123456789abcdef" * 2,
    "an API key": "ak_" + "0123456789abcdef" * 2,
    "a publishable key": CLERK.publishable_key,
    "nested: a token around a token": f"{HEADER_PART}.{encode(GOOD.encode())}.{SIGNATURE_PART}",
    "nested with a good signature": signed_text(HEADER_PART, encode(GOOD.encode())),
    "JSON serialisation, flattened": json.dumps(
        {"protected": HEADER_PART, "payload": PAYLOAD_PART, "signature": SIGNATURE_PART}
    ),
    "JSON serialisation, general": json.dumps(
        {"payload": PAYLOAD_PART, "signatures": [{"protected": HEADER_PART, "signature": SIGNATURE_PART}]}
    ),
    "JSON serialisation in which a token hides": json.dumps({"payload": GOOD}),
}

STRANGE_CHARACTERS = {
    "a blank": " ",
    "a newline": "\n",
    "a carriage return": "\r",
    "a tab": "\t",
    "a form feed": "\x0c",
    "a NUL": "\0",
    "a tilde": "~",
    "a plus": "+",
    "a slash": "/",
    "an equals sign": "=",
    "a percent sign": "%",
    "a star": "*",
    "an e with an accent": "é",
    "a full-width A": "Ａ",
    "a Cyrillic a": "а",
    "an Arabic digit": "٣",
    "a zero-width space": "\u200b",
    "a byte order mark": "\ufeff",
    "an emoji": "🔑",
    "half a surrogate pair": "\ud800",
    "the other half": "\udfff",
}
OTHER_DOTS = {
    "full-width": "．",
    "ideographic": "。",
    "one-dot leader": "․",
    "half-width ideographic": "｡",
    "middle": "·",
}


def tokens() -> Iterator[Hostile]:
    for name, value in NO_TEXT.items():
        yield Hostile(f"no text: {name}", value, MALFORMED)
    for name, value in SHAPES.items():
        yield Hostile(f"shape: {name}", value, MALFORMED)
    for name, dot in OTHER_DOTS.items():
        yield Hostile(f"dots: {name}", GOOD.replace(".", dot), MALFORMED)
        yield Hostile(f"dots: {name}, the second", f"{HEADER_PART}.{PAYLOAD_PART}{dot}{SIGNATURE_PART}", MALFORMED)
    for name, character in STRANGE_CHARACTERS.items():
        yield Hostile(f"character: {name} before", character + GOOD, MALFORMED)
        yield Hostile(f"character: {name} after", GOOD + character, MALFORMED)
        for part in range(3):
            yield Hostile(f"character: {name} in the {PARTS[part]}", _inserted(part, character), MALFORMED)
    for part in range(3):
        yield from _misspelled(part)
    yield from _unused_bits()
    yield from _too_large()


def _inserted(part: int, text: str) -> str:
    parts = GOOD.split(".")
    parts[part] = parts[part][:8] + text + parts[part][8:]
    return ".".join(parts)


def _misspelled(part: int) -> Iterator[Hostile]:
    """Other spellings of the same bytes, signed as they are spelled where a header or payload is."""
    both = "???>>>~~~???>>>???>>>"  # at one offset of three it is spelled with both special characters
    parts = GOOD.split(".")
    for blanks in range(9):
        parts = session({"note": " " * blanks + both}, {"note": " " * (blanks // 3) + both}).split(".")
        if all(special in parts[part] for special in "-_"):
            break
    spelled = {
        "padded with one": parts[part] + "=",
        "padded with two": parts[part] + "==",
        "padded with four": parts[part] + "====",
        "padded in front": "=" + parts[part],
        "the standard alphabet": parts[part].replace("-", "+").replace("_", "/"),
        "a plus": parts[part].replace("-", "+", 1),
        "a slash": parts[part].replace("_", "/", 1),
        "one character of a quartet": parts[part] + "A" * ((1 - len(parts[part])) % 4),
        "percent-encoded padding": parts[part] + "%3D",
        "lines of 76": "\n".join(parts[part][i : i + 76] for i in range(0, len(parts[part]), 76)),
        "lines of 64, of two characters": "\r\n".join(parts[part][i : i + 64] for i in range(0, len(parts[part]), 64)),
        "blanks only": "    ",
        "equals signs only": "====",
    }
    for name, text in spelled.items():
        misspelled = [*parts[:part], text, *parts[part + 1 :]]
        yield Hostile(f"spelling of the {PARTS[part]}: {name}", ".".join(misspelled), MALFORMED)
        if part < 2:
            yield Hostile(f"spelling of the {PARTS[part]}: {name}, signed", signed_text(*misspelled[:2]), MALFORMED)


def _unused_bits() -> Iterator[Hostile]:
    """Last characters that decode to the same bytes, but the canonical one."""
    for rest, step in ((2, 16), (3, 4)):
        for length in range(3):
            token = session({"note": "n" * length}, {"note": "n" * length})
            for part, text in enumerate(token.split(".")[:2]):
                if len(text) % 4 == rest:
                    yield from _last_characters(token, part, step, f", rest {rest}")
    yield from _last_characters(GOOD, 2, 16, "")
    for length, step in ((256, 16), (254, 4)):
        short = resigned(decode(SIGNATURE_PART)[:length])[:-1]
        for last in (character for character in ALPHABET if ALPHABET.index(character) % step):
            yield Hostile(f"a signature of {length} bytes that ends in {last}", short + last, MALFORMED)


def _last_characters(token: str, part: int, step: int, name: str) -> Iterator[Hostile]:
    parts = token.split(".")
    last = ALPHABET.index(parts[part][-1])
    for bits in (1, step // 2, step - 1):
        parts[part] = parts[part][:-1] + ALPHABET[last | bits]
        spelled = signed_text(*parts[:2]) if part < 2 else ".".join(parts)
        yield Hostile(f"unused bits of the {PARTS[part]}{name}: {bits}", spelled, MALFORMED)


def of_length(length: int) -> str:
    """A good token of exactly this length."""
    for filler in ("", "x", "xx"):
        bare = len(session({"filler": ""}, {"filler": filler}))
        padded = [session({"filler": "x" * (n + (length - bare) * 3 // 4)}, {"filler": filler}) for n in range(-2, 3)]
        for token in padded:
            if len(token) == length:
                return token
    raise AssertionError("no token of that length")


def _too_large() -> Iterator[Hostile]:
    yield Hostile("large: one character too many", of_length(8193), TOO_LARGE)
    yield Hostile("large: a good token of 100,000 characters", session({"filler": "x" * 75_000}), TOO_LARGE)
    yield Hostile("large: a key id of 100,000 characters", session({}, {"kid": "x" * 100_000}), TOO_LARGE)
    yield Hostile("large: 20,000 header parameters", session({}, {f"p{n}": n for n in range(20_000)}), TOO_LARGE)
    yield Hostile("large: 100,000 lists in lists", session({"deep": 0}) + "." + encode(b"[" * 100_000), TOO_LARGE)
    yield Hostile("large: a million letters", "a" * 1_000_000, TOO_LARGE)
    yield Hostile("large: a million dots", "." * 1_000_000, TOO_LARGE)
    yield Hostile("large: a million keys", "🔑" * 1_000_000, TOO_LARGE)
    yield Hostile("large: halves of surrogate pairs", "\ud800" * 8193, TOO_LARGE)
    yield Hostile("large: a signature", f"{HEADER_PART}.{PAYLOAD_PART}.{SIGNATURE_PART * 30}", TOO_LARGE)
