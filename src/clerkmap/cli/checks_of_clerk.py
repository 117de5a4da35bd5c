"""What Clerk says: its keys, whether it takes the secret key, whose that is, and what time it is there."""

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import ApiKeyRefused, ApiUnavailable
from .checks import Case, Check, Skipped, Wrong

if TYPE_CHECKING:
    from ..core.instance import Instance
    from ..core.keys import KeySet

DEADLINE = 5.0  # seconds
MOST_APART = 5.0  # seconds that the verifier forgives
_PROXY = "no proxy is used that an environment variable names"


def keys(case: Case) -> str:
    """The keys that tokens are verified with."""
    if case.publishable_key is None:
        raise Skipped("without the publishable key nobody knows where they are")
    from ..core.instance import Instance

    case.instance = Instance(
        publishable_key=case.publishable_key,
        secret_key=case.secret_key,
        jwt_key=case.jwt_key,
        api_url=case.api_url or "https://api.clerk.com",
    )
    if case.instance.local_keys is not None:
        case.keys = case.instance.local_keys
        return "at hand, in CLERK_JWT_KEY"
    if case.said("CLERK_JWT_KEY"):
        raise Skipped("CLERK_JWT_KEY takes their place, and has to be mended first")
    case.keys = _published(case, case.instance)
    if not case.keys:
        raise Wrong(
            f"the keys cannot be fetched from {case.instance.jwks_url}",
            f"See whether this machine reaches that address ({_PROXY}), or set CLERK_JWT_KEY",
        )
    return f"fetched from {case.instance.jwks_url}"


def api(case: Case) -> str:
    """Whether the API can be reached, and takes the secret key."""
    if case.api_url is None:
        raise Skipped("its address has to be mended first")
    if case.instance is None or case.secret_key is None:
        raise Skipped("it is asked with the secret key, of the instance of the publishable key")
    from ..clerk import endpoints
    from ..clerk.api import ClerkApi

    asked = ClerkApi(case.instance, transport=case.transport, timeout=DEADLINE, patience=case.patience)
    case.closing.append(asked.close)
    try:
        asked.ask(endpoints.jwks())
    except ApiKeyRefused:
        raise Wrong(
            "Clerk does not know the secret key",
            "It was revoked, or is another one's: take CLERK_SECRET_KEY from the API keys page of Clerk's dashboard",
        ) from None
    except ApiUnavailable as error:
        if error.status in (0, 429) or error.status >= 500:
            raise Wrong(
                f"{case.api_url} did not answer as it should ({error})",
                f"See whether this machine reaches it ({_PROXY}), and https://status.clerk.com",
            ) from None
        raise Wrong(
            f"{case.api_url} is not Clerk's API", "Leave CLERK_API_URL out for Clerk's own; a proxy may be in between"
        ) from None
    case.api = asked
    return f"{case.api_url} takes the secret key"


def same_instance(case: Case) -> str:
    """Whether the secret key is the same instance's as the publishable key."""
    if case.api is None or case.instance is None or not case.keys:
        raise Skipped("needs the keys and an answer of the API")
    from ..clerk import endpoints
    from ..core.keys import import_jwks

    said = case.api.ask(endpoints.jwks())
    shown = import_jwks(said, case.instance.algorithms)
    if _common(case.keys, shown):
        return "secret key and signing keys are one instance's"
    if case.jwt_key is None:
        raise Wrong(
            "the secret key's instance has other signing keys than the publishable key's publishes: they are of "
            "different instances, or the keys are being rotated",
            "Compare both with one page of Clerk's dashboard; right after a rotation, look again in some minutes",
        )
    published = _published(case, case.instance)
    if _common(published, shown):
        raise Wrong(
            "CLERK_JWT_KEY has been rotated, or is another instance's: the other two keys belong together",
            "Copy it anew from the API keys page; or leave it out to have the keys fetched",
        )
    if _common(published, case.keys):
        raise Wrong(
            "the secret key is another instance's than the publishable key",
            "Take both from one page of Clerk's dashboard",
        )
    raise Wrong(
        "CLERK_JWT_KEY is not among the signing keys of the secret key's instance: it has been rotated, or the two are "
        "of different instances",
        "Copy CLERK_JWT_KEY anew from the API keys page, or leave it out; if it is the same, take the secret key from "
        "that page, too",
    )


def clock(case: Case) -> str:
    """Whether this machine's clock says what Clerk's does. No key is sent for that."""
    if case.api_url is None:
        raise Skipped("the API's address has to be mended first")
    import httpx

    before = case.clock()
    try:
        with httpx.Client(
            transport=case.transport, timeout=DEADLINE, follow_redirects=False, trust_env=False
        ) as client:
            answer = client.get(f"{case.api_url}/v1/jwks")
    except httpx.HTTPError:
        raise Skipped(f"{case.api_url} cannot be reached") from None
    after = case.clock()
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, TypeError):
        raise Skipped("the API did not say what time it is") from None
    apart = max(before - (theirs + 1), theirs - after, 0)  # a date has no fractions of seconds
    if apart <= MOST_APART:
        if _is_here(case.api_url):
            raise Skipped("the API runs on this machine, and has its clock")
        return "says what Clerk's does, to a few seconds"
    from .formatting import span

    raise Wrong(
        f"this machine's clock is {span(apart)} {'ahead of' if before > theirs else 'behind'} Clerk's",
        "Tokens and webhooks are refused for it: have the clock set by the network (NTP)",
    )


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _published(case: Case, instance: "Instance") -> "KeySet | None":
    """The keys that the front-end API publishes, if they can be had."""
    from ..clerk.jwks import fetch_jwks
    from ..core.keys import import_jwks

    try:
        return import_jwks(fetch_jwks(instance, case.transport, DEADLINE), instance.algorithms)
    except Exception:  # noqa: BLE001 - any failure of the fetch means that the keys cannot be had
        return None


def _common(some: "KeySet | None", others: "KeySet | None") -> bool:
    return some is not None and others is not None and some.shares_a_key(others)


CHECKS: dict[str, Check] = {"keys": keys, "API": api, "same instance": same_instance, "clock": clock}
