"""The time of each step for a token not seen before, next to the signature check, which is unavoidable."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clerkmap import ClerkUser, Verifier
from clerkmap.core.claims import read_claims
from clerkmap.core.jose import decode_base64url, read_token
from clerkmap.core.strict_json import read_object
from clerkmap.repositories import SqliteRepository

from .measure import Row, Side, compare, constant
from .people import bare_verification, crowd, signed_and_signature


def steps(short: bool) -> Iterator[Row]:
    """Measure the steps. They overlap: reading a token includes its base64url and JSON, `verify` includes all."""
    rounds, size = (3, 20) if short else (41, 400)
    people = crowd(size)
    header, payloads = people.tokens[0].split(".")[0], [token.split(".")[1].encode() for token in people.tokens]
    known = {header.encode(): json.loads(decode_base64url(header.encode()))}
    readings = [read_token(token, known) for token in people.tokens]
    key = next(iter(people.instance.local_keys or ()))
    raw = Side(bare_verification(people.clerk), constant([signed_and_signature(token) for token in people.tokens]))
    with TemporaryDirectory() as folder:
        repository = SqliteRepository.open(Path(folder) / "steps.db")
        users = [reading.payload["sub"] for reading in readings]
        repository.put([ClerkUser.full(people.instance.name, user, observed_at=1) for user in users])
        timed: list[tuple[str, Callable[[Any], object], Sequence[Any]]] = [
            ("the signature, with what wraps it", lambda each: key.verifies(each.signed, each.signature), readings),
            ("reading the token", partial(read_token, known_headers=known), people.tokens),
            ("of that, base64url of the payload", decode_base64url, payloads),
            ("of that, JSON of the payload", read_object, [decode_base64url(payload) for payload in payloads]),
            ("claims", lambda each: read_claims("session", "x", each.payload), readings),
            ("all of verify", Verifier(people.instance).verify, people.tokens),
            ("finding the user on SQLite", partial(repository.find, people.instance.name), users),
        ]
        for what, call, arguments in timed:
            ours, theirs, ratio = compare(Side(call, constant(arguments)), raw, rounds, what)
            yield Row("steps", what, ours, "one RSA-2048 verification", theirs, ratio)
        repository.close()
