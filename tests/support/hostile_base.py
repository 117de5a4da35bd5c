"""The one Clerk behind the table of hostile tokens, and the tools for making a token wrong in one place only."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from clerkmap.testing import Clock, FakeClerk

TOO_LARGE = "token_too_large"
MALFORMED = "token_malformed"
HEADER = "token_header_refused"
ALGORITHM = "token_algorithm_refused"
UNKNOWN_KEY = "token_key_unknown"
BAD_SIGNATURE = "token_signature_invalid"
TEMPLATE = "token_is_template"
MACHINE = "token_is_machine"
OAUTH = "token_is_oauth"
ID_TOKEN = "token_is_id_token"
HANDSHAKE = "token_is_handshake"
UNKNOWN_KIND = "token_kind_unknown"
MISSING = "token_claim_missing"
INVALID = "token_claim_invalid"
VERSION = "token_version_unknown"
EXPIRED = "token_expired"
EARLY = "token_not_yet_valid"
FUTURE = "token_issued_in_future"
ISSUER = "token_issuer_refused"
PARTY = "token_party_refused"
AUDIENCE = "token_audience_refused"
PENDING = "session_pending"

NOW = 1_790_000_000
ORIGIN = "https://app.example.com"
ABSENT = object()  # in changes to a header or payload: leave this one out

CLERK = FakeClerk(seed=41, clock=Clock(NOW))
INSTANCE = CLERK.make_instance(authorized_parties=[ORIGIN])
USER = CLERK.create_user()
ORGANIZATION = CLERK.create_organization(created_by=USER)
GOOD = CLERK.token(USER, ORGANIZATION, permissions=["org:invoices:read"], plan="o:pro")
GOOD_V1 = CLERK.token(USER, ORGANIZATION, permissions=["org:invoices:read"], version=1)


class Hostile(NamedTuple):
    """A token that must be refused, and the code of the refusal."""

    name: str
    token: Any
    code: str


def encode(data: bytes) -> str:
    """Unpadded base64url."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    """The bytes of one part of a good token."""
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


HEADER_PART, PAYLOAD_PART, SIGNATURE_PART = GOOD.split(".")
GOOD_HEADER: dict[str, Any] = json.loads(decode(HEADER_PART))
GOOD_PAYLOAD: dict[str, Any] = json.loads(decode(PAYLOAD_PART))
GOOD_PAYLOAD_V1: dict[str, Any] = json.loads(decode(GOOD_V1.split(".")[1]))


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with changes. None is JSON's null; `ABSENT` takes away."""
    return {name: value for name, value in {**values, **changes}.items() if value is not ABSENT}


def session(claims: Mapping[str, Any] | None = None, header: Mapping[str, Any] | None = None) -> str:
    """The good session token with changes, and a good signature."""
    return CLERK.key.sign(changed(GOOD_HEADER, header or {}), changed(GOOD_PAYLOAD, claims or {}))


def session_v1(claims: Mapping[str, Any]) -> str:
    """The same of version 1."""
    return CLERK.key.sign(GOOD_HEADER, changed(GOOD_PAYLOAD_V1, claims))


def written(header: str | bytes | None = None, payload: str | bytes | None = None) -> str:
    """A token with a good signature over a header and payload of exactly these bytes."""
    good = json.dumps(GOOD_HEADER).encode(), json.dumps(GOOD_PAYLOAD).encode()
    parts = [part.encode() if isinstance(part, str) else part for part in (header, payload)]
    return CLERK.key.sign(*(other if part is None else part for part, other in zip(parts, good, strict=True)))


def signed_text(header_part: str, payload_part: str) -> str:
    """A good signature over two parts, however they are spelled."""
    signed = f"{header_part}.{payload_part}"
    private = cast(rsa.RSAPrivateKey, CLERK.key.private)
    return f"{signed}.{encode(private.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"


def resigned(signature: bytes) -> str:
    """The good token with another signature."""
    return f"{HEADER_PART}.{PAYLOAD_PART}.{encode(signature)}"
