"""What the environment says, before anybody is asked whether it is true."""

from ..core.validation import check_origin, check_secret_key, check_url, check_webhook_secret, read_publishable_key
from ..errors import ConfigurationError
from .checks import Case, Check, Skipped, Wrong

_PAGE = "take it from the API keys page of Clerk's dashboard"


def publishable_key(case: Case) -> str:
    key = case.said("CLERK_PUBLISHABLE_KEY")
    if not key:
        raise Wrong("CLERK_PUBLISHABLE_KEY is not set", f"Set it: {_PAGE}")
    if key.startswith("sk_"):
        raise Wrong(
            "CLERK_PUBLISHABLE_KEY holds a secret key",
            "Swap the two; if it was ever in a front end, rotate it on the dashboard, for it is no secret any longer",
        )
    try:
        case.kind, host = read_publishable_key(key)
    except ConfigurationError:
        raise Wrong("CLERK_PUBLISHABLE_KEY is cut off, or no publishable key", f"Copy all of it: {_PAGE}") from None
    case.publishable_key = key
    return f"of the {_environment(case.kind)} at {host}; tokens are issued by https://{host}"


def secret_key(case: Case) -> str:
    key = case.said("CLERK_SECRET_KEY")
    if not key:
        raise Skipped("CLERK_SECRET_KEY is not set: tokens and webhooks do without, and sync and diff do not")
    if key.startswith("pk_"):
        raise Wrong("CLERK_SECRET_KEY holds a publishable key", f"Set it to the secret key: {_PAGE}")
    try:
        check_secret_key(key, None)
    except ConfigurationError:
        raise Wrong("CLERK_SECRET_KEY is cut off, or no secret key", f"Copy all of it: {_PAGE}") from None
    kind = key.split("_")[1]
    if case.kind is not None and kind != case.kind:
        raise Wrong(
            f"CLERK_SECRET_KEY is of a {_environment(kind)}, and CLERK_PUBLISHABLE_KEY of a {_environment(case.kind)}",
            "Take both from one page of Clerk's dashboard",
        )
    case.secret_key = key
    return f"of a {_environment(kind)}"


def webhook_secret(case: Case) -> str:
    text = case.said("CLERK_WEBHOOK_SIGNING_SECRET")
    if not text:
        raise Skipped("CLERK_WEBHOOK_SIGNING_SECRET is not set: no webhook can be taken in")
    secrets = [part.strip() for part in text.split(",") if part.strip()]
    for secret in secrets:
        try:
            check_webhook_secret(secret)
        except ConfigurationError:
            raise Wrong(
                "CLERK_WEBHOOK_SIGNING_SECRET is cut off, or no signing secret",
                "Copy all of it, whsec_ included, from the endpoint's page under Webhooks on Clerk's dashboard",
            ) from None
    return "well formed" if len(secrets) == 1 else f"{len(secrets)}, all well formed: one is being rotated"


def authorized_parties(case: Case) -> str:
    text = case.said("CLERK_AUTHORIZED_PARTIES")
    parties = [part.strip() for part in text.split(",") if part.strip()]
    if not parties:
        raise Skipped("CLERK_AUTHORIZED_PARTIES is not set: tokens made for any front end are accepted")
    for party in parties:
        try:
            check_origin("CLERK_AUTHORIZED_PARTIES", party)
        except ConfigurationError as error:
            raise Wrong("CLERK_AUTHORIZED_PARTIES names what is no origin", str(error)) from None
    return ", ".join(parties)


def api_address(case: Case) -> str:
    url = case.said("CLERK_API_URL") or "https://api.clerk.com"
    try:
        check_url("CLERK_API_URL", url)
    except ConfigurationError:
        raise Wrong(
            "CLERK_API_URL is no plain https:// URL",
            "Leave it out for Clerk's own API; only on this machine may it be http://",
        ) from None
    case.api_url = url.rstrip("/").removesuffix("/v1")
    return case.api_url


def jwt_key(case: Case) -> str:
    key = case.said("CLERK_JWT_KEY")
    if not key:
        raise Skipped("CLERK_JWT_KEY is not set: the keys are fetched, and a rotated one is noticed")
    from ..core.instance import Instance

    try:
        Instance(issuer="https://clerk.example.com", jwt_key=key)
    except ConfigurationError:
        raise Wrong(
            "CLERK_JWT_KEY is neither a PEM public key nor a readable file with one",
            "Copy all of it, from BEGIN to END, from the API keys page; or leave it out to have the keys fetched",
        ) from None
    case.jwt_key = key
    return "a public key; tokens are verified with it, and nothing is fetched"


def _environment(kind: str) -> str:
    return "production environment" if kind == "live" else "development environment"


CHECKS: dict[str, Check] = {
    "publishable key": publishable_key,
    "secret key": secret_key,
    "webhook secret": webhook_secret,
    "front ends": authorized_parties,
    "API address": api_address,
    "JWT key": jwt_key,
}
