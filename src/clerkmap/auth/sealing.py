"""Seal a principal: sign it as text, so that it can cross a boundary that you do not trust.

    v1.1790003600.eyJ2ZXJzaW9uIjox….t0kZ6c…
    │  │          │                 └ HMAC-SHA256 over the purpose and all characters before it
    │  │          └ the principal as JSON, base64url
    │  └ expiry, in seconds since 1970
    └ version of the format

The text is signed, not encrypted: each holder of the text can read the principal. Every character is signed, so a
sealed principal has exactly one spelling.
"""

import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256

from ..core.principal import Principal
from ..core.serialization import MAX_DEPTH, MAX_SIZE, write
from ..core.strict_json import read_object
from ..errors import ConfigurationError, PrincipalRefused, SealBroken, SealExpired

MIN_SECRET = 32  # bytes: as long as the digest, by RFC 2104
MAX_EXPIRES_IN = 31_536_000  # seconds: a year
MAX_SEALED = MAX_SIZE * 4 // 3 + 100

_VERSION = "v1"
_PURPOSE = b"clerkmap principal\0"  # a secret with a second use makes no seals by accident

Secret = str | bytes


def seal(
    principal: Principal,
    secret: Secret | Sequence[Secret],
    *,
    expires_in: float = 3600,
    clock: Callable[[], float] = time.time,
) -> str:
    """Return the principal as signed text. `unseal` detects every alteration.

    Args:
        principal: The principal to seal.
        secret: At least 32 random bytes that only you know. The first of several secrets seals.
        expires_in: The seconds until the text expires.
        clock: Returns the time, in seconds since 1970.
    """
    if type(expires_in) not in (int, float) or not 0 < expires_in <= MAX_EXPIRES_IN:
        raise ConfigurationError(f"expires_in must be more than 0 and at most {MAX_EXPIRES_IN} seconds")
    key = _keys(secret)[0]
    body = urlsafe_b64encode(write(principal.to_dict()).encode()).decode().rstrip("=")
    signed = f"{_VERSION}.{int(clock() + expires_in)}.{body}"
    return f"{signed}.{_mac(key, signed)}"


def unseal(text: str, secret: Secret | Sequence[Secret], *, clock: Callable[[], float] = time.time) -> Principal:
    """Return the principal of a sealed text.

    This does not check whether the caller is still admitted: `Resolver.confirm` does.

    Args:
        text: The text that `seal` returned.
        secret: The secret of the seal. Give several while you rotate the secret.
        clock: Returns the time, in seconds since 1970.

    Raises:
        SealBroken: The signature is not valid for any secret.
        SealExpired: The text has expired.
        PrincipalRefused: The text holds no principal that this version can read.
    """
    keys = _keys(secret)
    if not isinstance(text, str) or len(text) > MAX_SEALED or not text.isascii():
        raise SealBroken
    signed, _, mac = text.rpartition(".")
    if not any(hmac.compare_digest(_mac(key, signed), mac) for key in keys):
        raise SealBroken
    # From here on the text is authentic: a holder of the secret wrote it, perhaps with an older version of clerkmap.
    version, _, rest = signed.partition(".")
    expires_at, _, body = rest.partition(".")
    if version != _VERSION:
        raise PrincipalRefused("another version of clerkmap sealed it")
    try:
        expired = int(expires_at) <= clock()
        told = read_object(urlsafe_b64decode(body + "=" * (-len(body) % 4)), max_depth=MAX_DEPTH)
    except ValueError:
        raise PrincipalRefused("the sealed text cannot be read") from None
    if expired:
        raise SealExpired
    return Principal.from_dict(told)


def _mac(key: bytes, signed: str) -> str:
    digest = hmac.digest(key, _PURPOSE + signed.encode(), sha256)
    return urlsafe_b64encode(digest).decode().rstrip("=")


def _keys(secret: Secret | Sequence[Secret]) -> list[bytes]:
    listed = (secret,) if isinstance(secret, (str, bytes)) else secret
    if not isinstance(listed, Sequence) or not listed or not all(isinstance(each, (str, bytes)) for each in listed):
        raise ConfigurationError("secret must be str or bytes, or a non-empty list of them")
    keys = [each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each for each in listed]
    if any(len(key) < MIN_SECRET for key in keys):
        raise ConfigurationError(f"a secret must have at least {MIN_SECRET} bytes: make one with secrets.token_hex(32)")
    return keys
