"""The part of the table that is about opaque tokens, such as API keys: only Clerk can tell what they stand for."""

from collections.abc import Iterator

from requests_answers import (
    API_DOWN,
    API_KEY,
    BANNED,
    CLIENT,
    DELETED,
    FEATURE,
    KIND,
    MACHINE,
    MALFORMED,
    NO_ORGANIZATION,
    ORGANIZATION_DELETED,
    PERMISSION,
    PLAN,
    ROLE,
    SCOPE,
    STRICT,
    UNKNOWN,
    USER_MISSING,
    Want,
    Who,
)
from requests_row import ADA, IS_ADA, Row, bearer, cookie, session, suffixed
from requests_world import CLIENT_OF_ADA, KEY_OF_ACME, KEY_OF_FRESH, KEY_OF_GONE, KEYS, READER, REVOKED, token
from requests_world import MACHINE as OF_A_MACHINE

MADE_UP = "ak_" + "0123456789abcdef" * 2


def machines() -> Iterator[Row]:
    """The rows of this file."""
    yield from _in_authorization()
    yield from _of_an_organization()
    yield from _in_a_cookie()
    yield from _where_clerk_is_away()


def _in_authorization() -> Iterator[Row]:
    ada = KEYS["ada"].secret
    tokens: dict[str, tuple[str, Want]] = {
        "an API key": (ada, IS_ADA),
        "an OAuth token": (CLIENT_OF_ADA.secret, IS_ADA),
        "a new user": (KEYS["nova"].secret, Who("nova")),
        "a banned user": (KEYS["eve"].secret, BANNED),
        "a deleted user": (KEYS["dan"].secret, DELETED),
        "a key that was revoked": (REVOKED.secret, UNKNOWN),
        "a key that was made up": (MADE_UP, UNKNOWN),
        "an organization's key, which is not accepted": (KEY_OF_ACME.secret, API_KEY),
        "a machine's token, which is not accepted": (OF_A_MACHINE.secret, MACHINE),
        "a key with a word too many": (f"{ada}.", MALFORMED),
        "a key in capital letters": (ada.upper(), MALFORMED),
        "a key that is too short": ("ak_1", MALFORMED),
        "a session beside them": (ADA, IS_ADA),
    }
    for name, (value, want) in tokens.items():
        yield Row(f"opaque: {name}", "/machines/signed-in", bearer(value), want)
        yield Row(f"opaque, once more: {name}", "/machines/open", bearer(value), want)
    yield Row(
        "opaque: acts from anywhere", "/machines/signed-in", bearer(ada, ("Origin", "https://x.y")), IS_ADA, "POST"
    )
    yield Row("opaque: proves no permission", "/machines/permission", bearer(ada), NO_ORGANIZATION)
    reader = bearer(READER.secret)
    yield Row("opaque, scope: held", "/machines/scope", reader, IS_ADA)
    yield Row("opaque, scope: another", "/machines/scope", bearer(ada), SCOPE)
    yield Row("opaque, any of two scopes: held", "/machines/scopes", reader, IS_ADA)
    yield Row("opaque, any of two scopes: another", "/machines/scopes", bearer(CLIENT_OF_ADA.secret), SCOPE)
    yield Row("opaque: your own role", "/machines/user-role", bearer(ada), IS_ADA)
    yield Row("opaque: asked anew", "/machines/fresh", bearer(ada), IS_ADA)
    yield Row("opaque: where nothing of the kind is accepted", "/clerk/signed-in", bearer(ada), MALFORMED)


def _of_an_organization() -> Iterator[Row]:
    acme = bearer(KEY_OF_ACME.secret)
    for path in ("signed-in", "open", "organization", "page", "fresh", "in-person"):
        yield Row(f"an organization: {path}", f"/organizations/{path}", acme, Who(None, "acme"))
    yield Row("an organization: never seen", "/organizations/open", bearer(KEY_OF_FRESH.secret), Who(None, "fresh"))
    wants: dict[str, Want] = {"role": ROLE, "role-page": ROLE, "user-role": USER_MISSING, "permission": PERMISSION}
    wants |= {"feature": FEATURE, "plan": PLAN, "reverified": STRICT, "everything": ROLE}
    for path, want in wants.items():
        yield Row(f"an organization: {path}", f"/organizations/{path}", acme, want)
    for path in ("signed-in", "open", "fresh"):
        name, gone = f"an organization that was deleted: {path}", bearer(KEY_OF_GONE.secret)
        yield Row(name, f"/organizations/{path}", gone, ORGANIZATION_DELETED)
    yield Row("an organization: a person's key", "/organizations/open", bearer(KEYS["ada"].secret), API_KEY)


def _in_a_cookie() -> Iterator[Row]:
    for name, key in {"good": KEYS["ada"].secret, "made up": MADE_UP}.items():
        for path in ("/machines/signed-in", "/api-down/signed-in", "/clerk/open"):
            yield Row(f"opaque in a cookie: {name}, {path}", path, cookie(session(key)), KIND)
    yield Row("opaque in the suffixed cookie", "/machines/signed-in", cookie(suffixed(KEYS["ada"].secret)), KIND)


def _where_clerk_is_away() -> Iterator[Row]:
    yield Row("opaque: the API is away", "/api-down/signed-in", bearer(KEYS["ada"].secret), API_DOWN)
    yield Row("opaque: the API is away from optional sign-in", "/api-down/open", bearer(KEYS["ada"].secret), API_DOWN)
    yield Row("opaque: the API is away, and is not asked", "/api-down/signed-in", bearer(CLIENT_OF_ADA.secret), CLIENT)
    yield Row("opaque: the API is away, a session is not", "/api-down/signed-in", bearer(token("ada")), IS_ADA)
