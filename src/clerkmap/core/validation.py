"""Validation of settings. Each error names the expected value, and never quotes the given value."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from ..errors import ConfigurationError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?")
PASTED = re.compile(r"""[0-9A-Za-z+/=\s\\"']{100,}""")  # base64, with blanks, quotes and escapes around it
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
# A path of this application. Two slashes or a backslash would lead a browser to another host.
OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")
MAX_KEY_FILE = 65_536


def strings(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return a list of strings as a tuple, which can be read twice."""
    # A single string would be read letter by letter, and match nothing.
    listed = None if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) else tuple(values)
    if listed is None or not all(isinstance(value, str) and value for value in listed):
        raise ConfigurationError(f"{name} must be a list of non-empty strings")
    return listed


def read_publishable_key(key: str) -> tuple[Literal["test", "live"], str]:
    """Return the kind of environment of a publishable key, and its front-end host."""
    expected = ConfigurationError(
        "publishable_key must be pk_test_ or pk_live_ followed by the encoded front-end host: "
        "copy it from the API keys page of Clerk's dashboard"
    )
    parts = key.split("_") if isinstance(key, str) else []
    if len(parts) != 3 or parts[0] != "pk" or parts[1] not in ("test", "live"):
        raise expected
    encoded = parts[2].rstrip("=")
    try:
        host = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise expected from None
    if not host.endswith("$") or not HOST.fullmatch(host[:-1]):
        raise expected
    return ("test" if parts[1] == "test" else "live"), host[:-1]


def cookie_suffix(publishable_key: str) -> str:
    """Return the suffix of an environment's cookie names, for several environments on one domain."""
    digest = hashlib.sha1(publishable_key.encode(), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).decode()[:8]


def check_secret_key(key: str, kind: str | None) -> None:
    """Check the form of a secret key, and that it is for the same kind of environment as the publishable key."""
    if not isinstance(key, str) or not re.fullmatch(r"sk_(test|live)_[0-9A-Za-z]{10,200}", key):
        raise ConfigurationError("secret_key must be sk_test_ or sk_live_ followed by letters and digits")
    if kind is not None and not key.startswith(f"sk_{kind}_"):
        raise ConfigurationError("secret_key and publishable_key belong to different environments (test and live)")


def check_webhook_secret(secret: str) -> None:
    """Check that a webhook secret is complete and long enough."""
    expected = ConfigurationError("a webhook secret must be whsec_ followed by the base64 of 24 to 64 bytes")
    if not secret.startswith("whsec_"):
        raise expected
    encoded = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise expected from None
    if not 24 <= len(key) <= 64:
        raise expected


def check_url(name: str, url: str) -> None:
    """Check that a URL is https (or http on this machine), without credentials, query and fragment."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, _port = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    if not host or not secure or not re.fullmatch(r"[!-~]+", url) or re.search(r"[@?#\\]", url):
        raise ConfigurationError(f"{name} must be a plain https:// URL")


def check_page(name: str, page: object) -> None:
    """Check that a page is a path of this application."""
    if not isinstance(page, str) or not OWN_PATH.fullmatch(page):
        example = name.removesuffix("_page").replace("_", "-")
        raise ConfigurationError(f"{name} must be a path of this application, such as /{example}")


def check_origin(name: str, origin: str) -> None:
    """Check that an origin is spelled as browsers spell it."""
    default_port = {"https": ":443", "http": ":80"}.get(origin.partition("://")[0], "/")
    if not ORIGIN.fullmatch(origin) or origin.endswith(default_port):
        raise ConfigurationError(
            f"{name} must be a list of origins such as https://app.example.com: scheme and lower-case host, "
            "a port unless it is the default, and no slash at the end"
        )


def key_text(key: str | Path) -> str:
    """Return the key itself, or the content of the file that it names."""
    text = str(key)
    if not isinstance(key, Path) and ("-----BEGIN" in text or PASTED.fullmatch(text)):
        return text
    try:
        with open(text, encoding="ascii") as file:
            return file.read(MAX_KEY_FILE)
    except (OSError, ValueError):
        raise ConfigurationError("jwt_key must be a PEM public key, or the path of a readable file with one") from None
