"""Hostile tokens: real ones made for somebody or something else, and signatures that are not theirs."""

from collections.abc import Iterator
from typing import Any

from clerkmap.testing import Clock, FakeClerk, SigningKey
from hostile_base import (
    ABSENT,
    AUDIENCE,
    BAD_SIGNATURE,
    CLERK,
    GOOD,
    GOOD_HEADER,
    GOOD_PAYLOAD,
    HANDSHAKE,
    HEADER_PART,
    ID_TOKEN,
    ISSUER,
    MACHINE,
    OAUTH,
    PARTY,
    PAYLOAD_PART,
    PENDING,
    SIGNATURE_PART,
    TEMPLATE,
    UNKNOWN_KEY,
    UNKNOWN_KIND,
    USER,
    Hostile,
    changed,
    decode,
    encode,
    resigned,
    session,
    session_v1,
    written,
)

SESSION_CAT, TEMPLATE_CAT, MACHINE_CAT = (f"cl_B7d4PD{n}AAA" for n in (111, 222, 333))
UNTAGGED_CAT = "cl_I7d4PD111III"
HOST = CLERK.frontend_api
ISSUERS: tuple[Any, ...] = (
    *(ABSENT, None, True, 0, 17, [], [CLERK.issuer], [CLERK.issuer, "https://evil.example"], {}, {"iss": CLERK.issuer}),
    *("", " ", "https://evil.example", f"{CLERK.issuer}/", f"{CLERK.issuer}//", f"{CLERK.issuer}/.", CLERK.issuer[:-1]),
    *(
        f"{CLERK.issuer}.",
        f"{CLERK.issuer}.evil.example",
        f"{CLERK.issuer}:443",
        f"{CLERK.issuer}?",
        f"{CLERK.issuer}#",
    ),
    *(f" {CLERK.issuer}", f"{CLERK.issuer} ", f"{CLERK.issuer}\n", f"{CLERK.issuer}\0", f"https://x.{HOST}", HOST),
    *(f"http://{HOST}", f"//{HOST}", f"HTTPS://{HOST}", CLERK.issuer.upper(), f"https://{HOST.upper()}", "https://"),
    *(f"https://{HOST}@evil.example", f"https://evil@{HOST}", f"https://evil.example/{HOST}", f"{CLERK.issuer}/v1"),
    *(f"https://evil.example#{HOST}", f"https://{HOST.replace('e', 'е')}", f"https://xn--{HOST}", "https://*", "*"),
    *("https://seed-42.clerk.accounts.dev", "https://clerk.accounts.dev", CLERK.issuer.replace(".", "。")),
)
PARTIES: tuple[Any, ...] = (
    *(ABSENT, "https://evil.example", "https://app.example.com/", "https://app.example.com.", "https://app.example.co"),
    *("https://app.example.com:443", "http://app.example.com", "https://APP.example.com", "HTTPS://app.example.com"),
    *("app.example.com", "//app.example.com", "https://app.example.com.evil.example", "https://example.com", "null"),
    *("https://x.app.example.com", "https://app.example.com@evil.example", "https://evil@app.example.com", "https://"),
    *("https://app.example.com?", "https://app.example.com#", " https://app.example.com", "https://app.example.com "),
    *("https://app-example.com", "https://app.exаmple.com", "https://app.example.com,https://evil.example", "*"),
)
AUDIENCES: tuple[Any, ...] = (
    *("api", "", " ", "https://app.example.com", CLERK.issuer, "*", [], ["api"], ["api", "other"], [""], [None], [1]),
    *([["api"]], [{}], ["api", 1], ["api", None], {}, {"api": True}, True, False, 0, 1, 1.5),
)


def tokens() -> Iterator[Hostile]:
    for value in ISSUERS:
        name = "missing" if value is ABSENT else repr(value)
        yield Hostile(f"iss: {name}", session({"iss": value}), ISSUER)
    for value in PARTIES:
        name = "missing" if value is ABSENT else repr(value)
        yield Hostile(f"azp: {name}", session({"azp": value}), PARTY)
        yield Hostile(f"azp of version 1: {name}", session_v1({"azp": value}), PARTY)
    for value in AUDIENCES:
        yield Hostile(f"aud: {value!r}", session({"aud": value}), AUDIENCE)
    yield Hostile("pending", CLERK.token(USER, pending=True), PENDING)
    yield Hostile("pending, of version 1", session_v1({"sts": "pending"}), PENDING)
    yield Hostile("pending, of a foreign party", session({"sts": "pending", "azp": "https://evil.example"}), PARTY)
    yield from _kinds()
    yield from _signatures()


def _kinds() -> Iterator[Hostile]:
    cats: dict[str, dict[str, Any]] = {
        "no cat": {"cat": ABSENT},
        "the session's cat": {"cat": SESSION_CAT},
        "the cat that says nothing": {"cat": UNTAGGED_CAT},
    }
    template = {"sid": ABSENT, "v": ABSENT, "o": ABSENT, "fva": ABSENT, "sts": ABSENT, "pla": ABSENT, "fea": ABSENT}
    machine = {**template, "sub": CLERK.new_id("mch"), "jti": CLERK.new_id("mt"), "azp": ABSENT}
    oauth = {**template, "client_id": CLERK.new_id("client"), "scp": ["profile"], "azp": ABSENT}
    identity = {**template, "aud": CLERK.new_id("client"), "nonce": "n"}
    for name, header in cats.items():
        yield Hostile(f"template with {name}", session(template, header), TEMPLATE)
        yield Hostile(f"machine with {name}", session(machine, header), MACHINE)
        yield Hostile(f"machine with {name} and a sid", session({**machine, "sid": "sess_a"}, header), MACHINE)
        yield Hostile(f"machine with {name} and a client_id", session({**machine, "client_id": "a"}, header), MACHINE)
        yield Hostile(f"OAuth, but for its typ, with {name}", session(oauth, header), OAUTH)
        yield Hostile(f"OAuth with {name}", session(oauth, {**header, "typ": "at+jwt"}), OAUTH)
        yield Hostile(f"OAuth with {name} and a sid", session({**oauth, "sid": "sess_a"}, header), OAUTH)
        yield Hostile(f"ID token with {name}", session(identity, header), ID_TOKEN)
        yield Hostile(f"ID token with {name} and a sid", session({**identity, "sid": "sess_a"}, header), AUDIENCE)
        bare = dict.fromkeys(GOOD_PAYLOAD, ABSENT)
        carried = {"handshake": ["__session=; Path=/"]}
        yield Hostile(f"handshake with {name}", session({**bare, **carried}, header), HANDSHAKE)
        timed = session({**carried, "sub": ABSENT}, header)
        yield Hostile(f"handshake with {name} and a session's claims", timed, HANDSHAKE)
    yield Hostile("template", CLERK.template_token(USER), TEMPLATE)
    yield Hostile("template that carries a session's claims", session({}, {"cat": TEMPLATE_CAT}), TEMPLATE)
    yield Hostile("template of ten years", CLERK.template_token(USER, expires_in=315_360_000), TEMPLATE)
    yield Hostile("machine", CLERK.machine_token(scopes=["mch_other"]), MACHINE)
    yield Hostile("machine's cat on a session", session({}, {"cat": MACHINE_CAT}), MACHINE)
    yield Hostile("OAuth", CLERK.oauth_token(USER), OAUTH)
    for typ in ("at+jwt", "application/at+jwt"):
        yield Hostile(f"{typ} on a session", session({}, {"typ": typ}), OAUTH)
        yield Hostile(f"{typ} with the template's cat", session({}, {"typ": typ, "cat": TEMPLATE_CAT}), OAUTH)
    yield Hostile("ID token", CLERK.id_token(USER), ID_TOKEN)
    yield Hostile("handshake", CLERK.handshake_token(), HANDSHAKE)
    yield Hostile("a cat of tomorrow", session({}, {"cat": "cl_B7d4PD555AAA"}), UNKNOWN_KIND)


def _signatures() -> Iterator[Hostile]:
    signature = decode(SIGNATURE_PART)
    stranger = SigningKey("a stranger", CLERK.key.kid)
    victim = encode(GOOD.encode())
    other = CLERK.token(CLERK.create_user())
    neighbour = FakeClerk(seed=42, clock=Clock(CLERK.clock()))
    claimed = written(payload=b'{"sub":"user_victim"}').split(".")[1]
    number, modulus = int.from_bytes(signature), int.from_bytes(decode(CLERK.key.jwk()["n"]))
    replaced: dict[str, bytes] = {
        "one byte short": signature[:-1],
        "its first byte missing": signature[1:],
        "half": signature[:128],
        "one byte": signature[:1],
        "one zero": b"\0",
        "all zeros": bytes(256),
        "all ones": b"\xff" * 256,
        "a zero behind": signature + b"\0",
        "a zero in front": b"\0" + signature,
        "twice": signature * 2,
        "reversed": signature[::-1],
        "the number one": (1).to_bytes(256),
        "the modulus": modulus.to_bytes(256),
        "the modulus less one": (modulus - 1).to_bytes(256),
        "the negative": (modulus - number).to_bytes(256),
        "not reduced": (number + modulus).to_bytes(257),
        "an ECDSA signature of zeros": bytes(64),
        "an ECDSA signature of zeros, in DER": bytes.fromhex("3006020100020100"),
        "an empty sequence of DER": b"\x30\x00",
        "in hexadecimal": signature.hex().encode(),
        "the token itself": victim.encode(),
        "that of another token": decode(other.rpartition(".")[2]),
    }
    for name, data in replaced.items():
        yield Hostile(f"signature: {name}", resigned(data), BAD_SIGNATURE)
    for bit in (0, 1, 7, 8, 100, 1023, 1024, 2000, 2039, 2040, 2046, 2047):
        yield Hostile(f"signature: bit {bit} flipped", resigned((number ^ 1 << bit).to_bytes(256)), BAD_SIGNATURE)
    swapped: dict[str, str] = {
        "payload of another": f"{HEADER_PART}.{other.split('.')[1]}.{SIGNATURE_PART}",
        "payload of a victim": f"{HEADER_PART}.{claimed}.{SIGNATURE_PART}",
        "header of another": f"{session({}, {'oiat': 1}).split('.')[0]}.{PAYLOAD_PART}.{SIGNATURE_PART}",
        "header without cat": f"{session({}, {'cat': ABSENT}).split('.')[0]}.{PAYLOAD_PART}.{SIGNATURE_PART}",
        "payload in the place of the signature": f"{HEADER_PART}.{PAYLOAD_PART}.{PAYLOAD_PART}",
        "header in the place of the signature": f"{HEADER_PART}.{PAYLOAD_PART}.{HEADER_PART}",
    }
    for name, token in swapped.items():
        yield Hostile(f"swapped: {name}", token, BAD_SIGNATURE)
    yield Hostile("stranger's signature", stranger.sign(GOOD_HEADER, GOOD_PAYLOAD), BAD_SIGNATURE)
    expired = changed(GOOD_PAYLOAD, {"exp": 1, "iat": 1, "iss": "https://evil.example"})
    yield Hostile("stranger's, and its claims are bad too", stranger.sign(GOOD_HEADER, expired), BAD_SIGNATURE)
    yield Hostile("stranger's id token", stranger.sign(GOOD_HEADER, {"sub": "user_a", "aud": "a"}), BAD_SIGNATURE)
    elliptic = SigningKey("a stranger", CLERK.key.kid, "ES256")
    yield Hostile("an elliptic signature named RS256", elliptic.sign(GOOD_HEADER, GOOD_PAYLOAD), BAD_SIGNATURE)
    yield Hostile("another instance's", neighbour.token(neighbour.create_user()), UNKNOWN_KEY)
    posing = FakeClerk(seed=42, clock=Clock(CLERK.clock()), kid=CLERK.key.kid)
    yield Hostile("another instance's, under our key id", posing.token(posing.create_user()), BAD_SIGNATURE)
