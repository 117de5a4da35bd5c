"""Hostile tokens: headers and payloads, all well signed, that are no strict JSON objects in UTF-8."""

import json
from collections.abc import Callable, Iterator

from hostile_base import (
    ALGORITHM,
    GOOD_HEADER,
    GOOD_PAYLOAD,
    HEADER,
    MALFORMED,
    TEMPLATE,
    Hostile,
    written,
)

# Each in place of the members' end: `{"alg": …, ` + this + `}`.
MEMBERS: dict[str, str] = {
    "NaN": '"x":NaN',
    "Infinity": '"x":Infinity',
    "-Infinity": '"x":-Infinity',
    "NaN in a list": '"x":[NaN]',
    "a float too large": '"x":1e400',
    "a float too small": '"x":-1e400',
    "a float too large, spelled out": '"x":' + "9" * 400 + ".0",
    "an integer of 4301 digits": '"x":' + "9" * 4301,
    "a negative one of 4301 digits": '"x":-' + "9" * 4301,
    "hexadecimal": '"x":0x10',
    "a leading zero": '"x":01',
    "a leading plus": '"x":+1',
    "a bare fraction": '"x":.5',
    "a bare point": '"x":1.',
    "underscores": '"x":1_000',
    "Arabic digits": '"x":٣',
    "True": '"x":True',
    "undefined": '"x":undefined',
    "a trailing comma": '"x":1,',
    "two commas": '"x":1,,"y":2',
    "no comma": '"x":1 "y":2',
    "no colon": '"x" 1',
    "no value": '"x":',
    "single quotes": "'x':1",
    "a bare key": "x:1",
    "a number as a key": "1:1",
    "a comment": '"x":1/* */',
    "a raw newline in a string": '"x":"a\nb"',
    "a raw tab in a string": '"x":"a\tb"',
    "a raw NUL in a string": '"x":"a\0b"',
    "an escaped letter": '"x":"\\a"',
    "an escape of hexadecimal": '"x":"\\x41"',
    "half an escape": '"x":"\\u00"',
    "an escape of no hexadecimal": '"x":"\\u00zz"',
    "an escape with a sign": '"x":"\\u+041"',
    "an open string": '"x":"',
    "an open list": '"x":[1',
    "a list closed as an object": '"x":[1}',
    "the first half of a pair": '"x":"\\ud800"',
    "the second half of a pair": '"x":"\\udc00"',
    "a pair the wrong way round": '"x":"\\udc00\\ud800"',
    "two first halves": '"x":"\\ud83d\\ud83d"',
    "half a pair in a key": '"\\ud800":1',
    "half a pair in a list": '"x":["\\udfff"]',
    "half a pair beside a whole one": '"x":"\\ud83d\\ude00\\ud83d"',
    "a key twice": '"x":1,"x":1',
    "a key twice, once escaped": '"x":1,"\\u0078":2',
    "an empty key twice": '"":1,"":2',
    "a key twice, within": '"x":{"y":1,"y":2}',
    "a key twice, within a list": '"x":[{"y":1,"y":1}]',
    "33 deep in lists": '"x":' + "[" * 32 + "]" * 32,
    "33 deep in objects": '"x":' + '{"x":' * 31 + "{}" + "}" * 31,
    "33 deep, both": '"x":' + '[{"x":' * 16 + "0" + "}]" * 16,
    "33 deep, with brackets in strings": '"x":' + '["]]",' * 32 + "0" + "]" * 32,
    "33 deep, with quotes in strings": '"x":' + '["\\"]\\\\",' * 32 + "0" + "]" * 32,
    "2500 deep in lists": '"x":' + "[" * 2500 + "]" * 2500,
    "2500 opened": '"x":' + "[" * 2500,
    "700 deep in objects": '"x":' + '{"x":' * 700 + "0" + "}" * 700,
    "a string that never ends, full of brackets and escaped quotes": '"x":"' + "[" * 40 + '\\"' * 2500,
    "the same, full of escaped backslashes": '"x":"' + "[" * 40 + "\\\\" * 2500,
    "closed more often than opened": '"x":1' + "}" * 40 + "[" * 40,
}
TEXTS: dict[str, str] = {
    "an array": "[]",
    "an array of objects": "[{}]",
    "null": "null",
    "true": "true",
    "a number": "17",
    "a string": '"{}"',
    "a string in which JSON hides": '"{\\"sub\\":1}"',
    "nothing but blanks": "  ",
    "one brace": "{",
    "two braces the wrong way round": "}{",
    "no JSON": "undefined",
    "NaN": "NaN",
}
DUPLICATES = {"header": ("alg", "kid", "typ", "cat"), "payload": ("sub", "exp", "iat", "sid", "iss", "azp", "o", "v")}

# How a text of good JSON is turned into bytes that are no JSON of ours.
BYTES: dict[str, Callable[[str], bytes]] = {
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, little end first": lambda text: text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "UTF-32, little end first": lambda text: text.encode("utf-32-le"),
    "UTF-32, big end first": lambda text: text.encode("utf-32-be"),
    "UTF-7": lambda text: b"+AHs-" + text[1:].encode(),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "a byte order mark behind": lambda text: text.encode() + b"\xef\xbb\xbf",
    "a blank in front": lambda text: b" " + text.encode(),
    "a newline in front": lambda text: b"\n" + text.encode(),
    "a blank behind": lambda text: text.encode() + b" ",
    "a newline behind": lambda text: text.encode() + b"\n",
    "a NUL behind": lambda text: text.encode() + b"\0",
    "a NUL in front": lambda text: b"\0" + text.encode(),
    "junk behind": lambda text: text.encode() + b"junk",
    "a brace behind": lambda text: text.encode() + b"}",
    "a second object behind": lambda text: text.encode() + b"{}",
    "itself behind": lambda text: text.encode() * 2,
    "a comma and an object behind": lambda text: text.encode() + b",{}",
    "JSON of JSON": lambda text: json.dumps(text).encode(),
    "in a list": lambda text: b"[" + text.encode() + b"]",
    "no brace in front": lambda text: text[1:].encode(),
    "no brace behind": lambda text: text[:-1].encode(),
    "half of it": lambda text: text[: len(text) // 2].encode(),
    "Latin-1": lambda text: _spliced(text, "é".encode("latin-1")),
    "overlong slash": lambda text: _spliced(text, b"\xc0\xaf"),
    "overlong quote": lambda text: _spliced(text, b"\xe0\x80\xa2"),
    "overlong NUL": lambda text: _spliced(text, b"\xc0\x80"),
    "a surrogate of CESU-8": lambda text: _spliced(text, b"\xed\xa0\x80"),
    "a pair of CESU-8": lambda text: _spliced(text, b"\xed\xa0\xbd\xed\xb8\x80"),
    "beyond Unicode": lambda text: _spliced(text, b"\xf4\x90\x80\x80"),
    "five bytes": lambda text: _spliced(text, b"\xf8\x88\x80\x80\x80"),
    "a character cut off": lambda text: _spliced(text, b"\xe2\x82"),
    "a continuation alone": lambda text: _spliced(text, b"\x80"),
    "a byte that is never": lambda text: _spliced(text, b"\xff"),
}


def _spliced(text: str, odd: bytes) -> bytes:
    return text[:-1].encode() + b',"x":"' + odd + b'"}'


def tokens() -> Iterator[Hostile]:
    for part, good in (("header", GOOD_HEADER), ("payload", GOOD_PAYLOAD)):
        text = json.dumps(good)
        for name, member in MEMBERS.items():
            yield Hostile(f"JSON of the {part}: {name}", _written(part, f"{text[:-1]},{member}}}".encode()), MALFORMED)
        for name, other in TEXTS.items():
            yield Hostile(f"JSON of the {part}: is {name}", _written(part, other.encode()), MALFORMED)
        for name, spell in BYTES.items():
            yield Hostile(f"bytes of the {part}: {name}", _written(part, spell(text)), MALFORMED)
        for claim in DUPLICATES[part]:
            value = json.dumps(good[claim])
            for way, other in {"the same": value, "null": "null", "another": '"another"'}.items():
                last, first = f'{text[:-1]},"{claim}":{other}}}', f'{{"{claim}":{other},{text[1:]}'
                yield Hostile(f"{claim} twice, then {way}", _written(part, last.encode()), MALFORMED)
                yield Hostile(f"{claim} twice, first {way}", _written(part, first.encode()), MALFORMED)
    yield Hostile("an empty header", written(header="{}"), ALGORITHM)
    yield Hostile("an empty payload", written(payload="{}"), TEMPLATE)  # nothing in it is a session's
    header = json.dumps(GOOD_HEADER)[:-1]
    yield Hostile("a header 32 deep", written(header=header + ',"x":' + "[" * 31 + "]" * 31 + "}"), HEADER)
    same = json.dumps(GOOD_PAYLOAD).replace('"id":', '"id":"org_other","id":')
    yield Hostile("the organization's id twice", written(payload=same), MALFORMED)


def _written(part: str, data: bytes) -> str:
    return written(header=data) if part == "header" else written(payload=data)
