"""One public key, however it was pasted; and that keys which were given open no socket."""

import hmac
import os
import subprocess
import sys
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from clerkmap import ConfigurationError, Instance, Verifier
from clerkmap.core.keys import import_pem
from clerkmap.errors import AlgorithmRefused, BadSignature
from clerkmap.testing import FakeClerk, SigningKey

CLERK = FakeClerk(1)
PEM = CLERK.key.pem()
BODY = "".join(PEM.splitlines()[1:-1])
BLANKS = PEM.strip().replace("\n", " ")

PASTED: dict[str, str] = {
    "pem": PEM,
    "no newline at the end": PEM.strip(),
    "escaped": PEM.replace("\n", "\\n"),
    "escaped CRLF": PEM.replace("\n", "\\r\\n"),
    "CRLF": PEM.replace("\n", "\r\n"),
    "CR": PEM.replace("\n", "\r"),
    "blanks for newlines": BLANKS,
    "one line in its armour": f"-----BEGIN PUBLIC KEY-----{BODY}-----END PUBLIC KEY-----",
    "indented": PEM.replace("\n", "\n    "),
    "blank lines around": f"\n\n  {PEM}\n\n",
    "double quotes": f'"{PEM}"',
    "single quotes": f"'{PEM.strip()}'",
    "quotes and escapes": '"' + PEM.replace("\n", "\\n") + '"',
    "a comment above": f"# the key of production\n{PEM}",
    "base64": BODY,
    "base64 without padding": BODY.rstrip("="),
    "base64 with a newline": BODY + "\n",
    "base64 with an escaped newline": BODY + "\\n",
    "base64 in lines": "\n".join(BODY[at : at + 64] for at in range(0, len(BODY), 64)),
    "base64 in quotes": f'"{BODY}"',
    "base64 in single quotes": f"'{BODY}'\n",
}


def verifies(jwt_key: str | Path) -> bool:
    """Whether an instance with that key lets a token in."""
    instance = CLERK.make_instance(jwks=None, jwt_key=jwt_key)
    user = CLERK.create_user()
    return Verifier(instance).verify(CLERK.token(user)).subject == user.id


@pytest.mark.parametrize("form", PASTED)
def test_every_pasted_form_is_read(form: str) -> None:
    """Environment variables, dashboards and shells all mangle a PEM in their own way."""
    assert verifies(PASTED[form])


@pytest.mark.parametrize("form", PASTED)
@pytest.mark.parametrize("as_path", [str, Path])
def test_a_file_is_read(form: str, as_path: Callable[[Path], str | Path], tmp_path: Path) -> None:
    """Its path as text or as a Path, with either form in it."""
    file = tmp_path / "clerk key.pem"
    file.write_bytes(PASTED[form].encode())
    assert verifies(as_path(file))


def test_a_relative_path_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As any other program would."""
    (tmp_path / "key.pem").write_text(PEM)
    monkeypatch.chdir(tmp_path)
    assert verifies("key.pem")


def test_any_key_id_will_do() -> None:
    """The key was given for this very instance: a token may call it what it likes, or nothing."""
    instance = CLERK.make_instance(jwks=None, jwt_key=PEM)
    user = CLERK.create_user()
    for kid in ("another", "", None):
        token = CLERK.token(user, header={"kid": kid})
        assert Verifier(instance).verify(token).subject == user.id
    stranger = FakeClerk(2)
    with pytest.raises(BadSignature):
        Verifier(instance).verify(stranger.token(user, claims={"iss": CLERK.issuer}))


def _pem(bits: int, exponent: int = 65537) -> str:
    numbers = rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) | 1)
    return numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _agreement() -> str:
    public = x25519.X25519PrivateKey.from_private_bytes(b"7" * 32).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


CERTIFICATE = PEM.replace("PUBLIC KEY", "CERTIFICATE")
PRIVATE = CLERK.key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PKCS1 = PEM.replace("PUBLIC KEY", "RSA PUBLIC KEY")

REFUSED: dict[str, str] = {
    "a certificate": CERTIFICATE,
    "a private key": PRIVATE,
    "a private key's base64": "".join(PRIVATE.splitlines()[1:-1]),
    "another armour": PKCS1,
    "an armour that never ends": PEM[:200],
    "an empty armour": "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
    "garbage in the armour": "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----",
    "half a body": PEM.replace(BODY[:64], ""),
    "base64 of nothing": "A" * 392,
    "cut base64": BODY[:-9],
    "too small": _pem(1024),
    "too large": _pem(16_384),
    "an exponent of three": _pem(2048, 3),
    "elliptic, for Clerk": SigningKey("pem", None, "ES256").pem(),
    "P-384, for Clerk": SigningKey("pem", None, "ES384").pem(),
    "Ed25519, for Clerk": SigningKey("pem", None, "EdDSA").pem(),
    "for agreement": _agreement(),
    "garbage": "not a key",
    "a placeholder": "<your public key>",
    "nothing": "",
    "blanks": "  \n ",
    "a path to nowhere": "/nonexistent/key.pem",
    "a directory": "/",
    "a NUL": "key\0.pem",
    "not ASCII": "schl\u00fcssel",
    "an API key": "sk_test_" + "a1" * 20,
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_no_public_key_of_ours_is_refused(form: str) -> None:
    """At construction, with a text that names the setting and repeats nothing of what was given."""
    given = REFUSED[form]
    with pytest.raises(ConfigurationError, match="jwt_key") as caught:
        CLERK.make_instance(jwks=None, jwt_key=given)
    assert len(given) < 8 or given not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"x" * 100_000, CERTIFICATE.encode(), PRIVATE.encode()],
    ids=["empty", "binary", "long", "certificate", "private"],
)
def test_a_file_without_a_key_is_refused(content: bytes, tmp_path: Path) -> None:
    """The same for a file."""
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="jwt_key"):
        CLERK.make_instance(jwks=None, jwt_key=file)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
def test_a_key_is_for_one_algorithm(algorithm: str) -> None:
    """The key says which. The instance must sign with it, and a token must be signed with it."""
    signer = SigningKey("pem", None, algorithm)
    (key,) = import_pem(signer.pem(), [algorithm])
    assert key.algorithm == algorithm
    with pytest.raises(ConfigurationError, match=f"is for {algorithm}; this instance signs with PS256, PS384"):
        import_pem(signer.pem(), ["PS384", "PS256"])


def test_another_elliptic_curve_is_refused() -> None:
    """A public key, but on a curve nobody here signs with."""
    public = ec.derive_private_key(7, ec.SECP521R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ConfigurationError, match="jwt_key must be a PEM public key"):
        import_pem(pem, ["ES256", "ES384"])


def test_a_public_key_is_no_shared_secret() -> None:
    """A token signed by HMAC with the public key as its secret, the oldest trick there is."""
    user = CLERK.create_user()
    header, payload, _ = CLERK.token(user, header={"alg": "HS256"}).split(".")
    for secret in (PEM.encode(), PEM.strip().encode(), b64decode(BODY)):
        digest = hmac.digest(secret, f"{header}.{payload}".encode(), "sha256")
        token = f"{header}.{payload}.{_base64url(digest)}"
        with pytest.raises(AlgorithmRefused):
            Verifier(CLERK.make_instance(jwks=None, jwt_key=PEM)).verify(token)


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


GUARDED = """
import sys

def guard(event, arguments):
    if event.startswith("socket.") or event.startswith("http.") or event.startswith("urllib."):
        raise SystemExit(f"{event} was called")

sys.addaudithook(guard)
from clerkmap import Resolver, Verifier
from clerkmap.errors import TokenError
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

clerk = FakeClerk(1)
user = clerk.create_user()
token = clerk.token(user)
bad = [clerk.token(user, header={"kid": "unknown"}), FakeClerk(2).token(user, claims={"iss": clerk.issuer})]
for given in ({}, {"jwks": None, "jwt_key": clerk.key.pem()}):
    instance = clerk.make_instance(**given)
    assert Verifier(instance).verify(token).subject == user.id
    assert Resolver(instance, MemoryRepository()).resolve(token).user.clerk_id == user.id
    for each in bad[1:] if given else bad:
        try:
            Verifier(instance).verify(each)
        except TokenError:
            continue
        raise SystemExit("a bad token was let in")
assert "httpx" not in sys.modules, "nobody needs it"
print("quiet")
"""


@pytest.mark.slow
def test_given_keys_open_no_socket() -> None:
    """With keys in hand, nothing in the process touches the network, whatever a token says; httpx is not loaded."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GUARDED], capture_output=True, text=True, env=os.environ, timeout=60
    )
    assert (run.stdout.strip(), run.returncode) == ("quiet", 0), run.stderr


def test_an_instance_with_both_is_refused() -> None:
    """Two sources of keys would be one too many to reason about."""
    with pytest.raises(ConfigurationError, match="not both"):
        Instance(publishable_key=CLERK.publishable_key, jwt_key=PEM, jwks=CLERK.jwks())
