"""The checks of `clerkmap doctor`, in order: each one builds on the checks before it.

A check returns a line about the good state. It raises `Wrong` with the problem and its fix, or `Skipped` with the
reason.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..core.validation import check_origin, check_secret_key, check_url, check_webhook_secret, read_publishable_key
from ..errors import ApiKeyRefused, ApiUnavailable, ConfigurationError, RepositoryUnavailable
from .options import DATABASE, repository_named

if TYPE_CHECKING:
    import httpx

    from ..clerk.api import ClerkApi
    from ..core.instance import Instance
    from ..core.keys import KeySet
    from ..core.model import Count
    from ..core.records import Kind
    from ..ports import Repository
    from .database import CommandDatabase, DatabaseState


_PAGE = "copy it from the API keys page of Clerk's dashboard"
DEADLINE = 5.0  # seconds
MAX_SKEW = 5.0  # seconds: the leeway of the verifier
_PROXY = "proxies from the environment are not used"
LATE = 300.0  # seconds that a webhook may take
NEWEST = 20  # users with the latest changes
_PROBE = "clerkmap doctor"  # the name of a checkpoint that does not exist


class Wrong(Exception):
    """A problem, and how to fix it."""

    def __init__(self, told: str, remedy: str) -> None:
        super().__init__(told)
        self.remedy = remedy


class Skipped(Exception):
    """The reason why a check was skipped."""


@dataclass
class Case:
    """The configuration to check, and the results so far. None means not available.

    `transport` replaces the network.
    """

    environ: Mapping[str, str]
    url: str | None
    clock: Callable[[], float] = time.time
    transport: "httpx.BaseTransport | None" = None
    patience: float = 3

    kind: str | None = None
    publishable_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    jwt_key: str | None = field(default=None, repr=False)
    api_url: str | None = None
    instance: "Instance | None" = None
    keys: "KeySet | None" = None
    api: "ClerkApi | None" = None
    place: "CommandDatabase | None" = None
    found: "DatabaseState | None" = None
    repository: "Repository | None" = None
    counted: "Mapping[Kind, Count] | None" = None
    closing: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    def said(self, name: str) -> str:
        """Return the value of a variable, empty if it is not set."""
        return self.environ.get(name, "").strip()


Check = Callable[[Case], str]


# Settings


def publishable_key(case: Case) -> str:
    key = case.said("CLERK_PUBLISHABLE_KEY")
    if not key:
        raise Wrong("CLERK_PUBLISHABLE_KEY is not set", f"Set it: {_PAGE}")
    if key.startswith("sk_"):
        raise Wrong(
            "CLERK_PUBLISHABLE_KEY holds a secret key",
            "Swap the two keys; if the secret key was ever in a front end, rotate it on the dashboard",
        )
    try:
        case.kind, host = read_publishable_key(key)
    except ConfigurationError:
        raise Wrong("CLERK_PUBLISHABLE_KEY is cut off, or not a publishable key", f"Copy all of it: {_PAGE}") from None
    case.publishable_key = key
    return f"from the {_environment(case.kind)} at {host}; tokens are issued by https://{host}"


def secret_key(case: Case) -> str:
    key = case.said("CLERK_SECRET_KEY")
    if not key:
        raise Skipped("CLERK_SECRET_KEY is not set: sync and diff need it, tokens and webhooks do not")
    if key.startswith("pk_"):
        raise Wrong("CLERK_SECRET_KEY holds a publishable key", f"Set it to the secret key: {_PAGE}")
    try:
        check_secret_key(key, None)
    except ConfigurationError:
        raise Wrong("CLERK_SECRET_KEY is cut off, or not a secret key", f"Copy all of it: {_PAGE}") from None
    kind = key.split("_")[1]
    if case.kind is not None and kind != case.kind:
        raise Wrong(
            f"CLERK_SECRET_KEY is from a {_environment(kind)}, "
            f"and CLERK_PUBLISHABLE_KEY from a {_environment(case.kind)}",
            "Copy both from one page of Clerk's dashboard",
        )
    case.secret_key = key
    return f"from a {_environment(kind)}"


def webhook_secret(case: Case) -> str:
    text = case.said("CLERK_WEBHOOK_SIGNING_SECRET")
    if not text:
        raise Skipped("CLERK_WEBHOOK_SIGNING_SECRET is not set: webhooks are refused")
    secrets = [part.strip() for part in text.split(",") if part.strip()]
    for secret in secrets:
        try:
            check_webhook_secret(secret)
        except ConfigurationError:
            raise Wrong(
                "CLERK_WEBHOOK_SIGNING_SECRET is cut off, or not a signing secret",
                "Copy all of it, whsec_ included, from the endpoint's page under Webhooks on Clerk's dashboard",
            ) from None
    return "well formed" if len(secrets) == 1 else f"{len(secrets)}, all well formed: a rotation is in progress"


def authorized_parties(case: Case) -> str:
    text = case.said("CLERK_AUTHORIZED_PARTIES")
    parties = [part.strip() for part in text.split(",") if part.strip()]
    if not parties:
        raise Skipped("CLERK_AUTHORIZED_PARTIES is not set: tokens for any front end are accepted")
    for party in parties:
        try:
            check_origin("CLERK_AUTHORIZED_PARTIES", party)
        except ConfigurationError as error:
            raise Wrong("CLERK_AUTHORIZED_PARTIES holds an invalid origin", str(error)) from None
    return ", ".join(parties)


def api_address(case: Case) -> str:
    url = case.said("CLERK_API_URL") or "https://api.clerk.com"
    try:
        check_url("CLERK_API_URL", url)
    except ConfigurationError:
        raise Wrong(
            "CLERK_API_URL is not a plain https:// URL",
            "Remove it to use Clerk's API; http:// is allowed on this machine only",
        ) from None
    case.api_url = url.rstrip("/").removesuffix("/v1")
    return case.api_url


def jwt_key(case: Case) -> str:
    key = case.said("CLERK_JWT_KEY")
    if not key:
        raise Skipped("CLERK_JWT_KEY is not set: the keys are fetched, and a rotation is noticed")
    from ..core.instance import Instance

    try:
        Instance(issuer="https://clerk.example.com", jwt_key=key)
    except ConfigurationError:
        raise Wrong(
            "CLERK_JWT_KEY is neither a PEM public key nor a readable file with one",
            "Copy all of it, from BEGIN to END, from the API keys page; or remove it to fetch the keys",
        ) from None
    case.jwt_key = key
    return "a public key; it verifies tokens, and no keys are fetched"


def _environment(kind: str) -> str:
    return "production environment" if kind == "live" else "development environment"


# Clerk


def keys(case: Case) -> str:
    """Find the keys that verify tokens."""
    if case.publishable_key is None:
        raise Skipped("needs the publishable key")
    from ..core.instance import Instance

    case.instance = Instance(
        publishable_key=case.publishable_key,
        secret_key=case.secret_key,
        jwt_key=case.jwt_key,
        api_url=case.api_url or "https://api.clerk.com",
    )
    if case.instance.local_keys is not None:
        case.keys = case.instance.local_keys
        return "from CLERK_JWT_KEY"
    if case.said("CLERK_JWT_KEY"):
        raise Skipped("CLERK_JWT_KEY replaces them: fix it first")
    case.keys = _published(case, case.instance)
    if not case.keys:
        raise Wrong(
            f"the keys cannot be fetched from {case.instance.jwks_url}",
            f"Check that this machine can reach that address ({_PROXY}), or set CLERK_JWT_KEY",
        )
    return f"fetched from {case.instance.jwks_url}"


def api(case: Case) -> str:
    """Check that the API is reachable and accepts the secret key."""
    if case.api_url is None:
        raise Skipped("fix its address first")
    if case.instance is None or case.secret_key is None:
        raise Skipped("needs the secret key and the publishable key")
    from ..clerk import endpoints
    from ..clerk.api import ClerkApi

    asked = ClerkApi(case.instance, transport=case.transport, timeout=DEADLINE, patience=case.patience)
    case.closing.append(asked.close)
    try:
        asked.send(endpoints.jwks())
    except ApiKeyRefused:
        raise Wrong(
            "Clerk does not know the secret key",
            "It may have been revoked: copy CLERK_SECRET_KEY from the API keys page of Clerk's dashboard",
        ) from None
    except ApiUnavailable as error:
        if error.status in (0, 429) or error.status >= 500:
            raise Wrong(
                f"{case.api_url} did not answer correctly ({error})",
                f"Check that this machine can reach it ({_PROXY}), and see https://status.clerk.com",
            ) from None
        raise Wrong(
            f"{case.api_url} is not Clerk's API", "Remove CLERK_API_URL to use Clerk's API; a proxy may be in between"
        ) from None
    case.api = asked
    return f"{case.api_url} accepts the secret key"


def same_instance(case: Case) -> str:
    """Check that the secret key and the publishable key are from the same instance."""
    if case.api is None or case.instance is None or not case.keys:
        raise Skipped("needs the keys and a response of the API")
    from ..clerk import endpoints
    from ..core.keys import import_jwks

    said = case.api.send(endpoints.jwks())
    shown = import_jwks(said, case.instance.algorithms)
    if _common(case.keys, shown):
        return "secret key and signing keys are from one instance"
    if case.jwt_key is None:
        raise Wrong(
            "the instance of the secret key has other signing keys than that of the publishable key: they are "
            "different instances, or the keys are being rotated",
            "Compare both with one page of Clerk's dashboard; after a rotation, check again in some minutes",
        )
    published = _published(case, case.instance)
    if _common(published, shown):
        raise Wrong(
            "CLERK_JWT_KEY has been rotated, or is from another instance: the other two keys belong together",
            "Copy it again from the API keys page; or remove it to fetch the keys",
        )
    if _common(published, case.keys):
        raise Wrong(
            "the secret key and the publishable key are from different instances",
            "Copy both from one page of Clerk's dashboard",
        )
    raise Wrong(
        "CLERK_JWT_KEY is not among the signing keys of the secret key's instance: it has been rotated, or the two are "
        "of different instances",
        "Copy CLERK_JWT_KEY again from the API keys page, or remove it; if it is the same, copy the secret key from "
        "that page as well",
    )


def clock(case: Case) -> str:
    """Compare the clock of this machine with Clerk's. The request holds no key."""
    if case.api_url is None:
        raise Skipped("fix the address of the API first")
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
        raise Skipped("the response of the API has no date") from None
    apart = max(before - (theirs + 1), theirs - after, 0)  # the header has whole seconds
    if apart <= MAX_SKEW:
        if _is_here(case.api_url):
            raise Skipped("the API runs on this machine, with the same clock")
        return "agrees with Clerk's clock within a few seconds"
    from .formatting import span

    raise Wrong(
        f"this machine's clock is {span(apart)} {'ahead of' if before > theirs else 'behind'} Clerk's",
        "Tokens and webhooks are refused because of it: synchronize the clock (NTP)",
    )


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _published(case: Case, instance: "Instance") -> "KeySet | None":
    """Return the keys that the Frontend API publishes, if they are available."""
    from ..clerk.jwks import fetch_jwks
    from ..core.keys import import_jwks

    try:
        return import_jwks(fetch_jwks(instance, case.transport, DEADLINE), instance.algorithms)
    except Exception:  # noqa: BLE001 - any failure means that the keys are not available
        return None


def _common(some: "KeySet | None", others: "KeySet | None") -> bool:
    return some is not None and others is not None and some.shares_a_key(others)


# Database


def database(case: Case) -> str:
    """Check that the database is reachable."""
    from .database_names import database as named

    if not (case.url or "").strip() and repository_named() is None:
        raise Skipped(f"{DATABASE} is not set, and neither --database nor --repository is given")
    try:
        case.place = named(case.url, repository_named())
        case.found = case.place.look()
    except ImportError as missing:
        raise Wrong("the driver of the database is not installed", str(missing)) from None
    except ConfigurationError as error:
        told, remedy = _with_grants(error, f"Set {DATABASE} or --database to your database")
        raise Wrong(told, remedy) from None
    except RepositoryUnavailable as error:
        raise Wrong(
            _without_label(error), f"Check that it runs, and compare {DATABASE} with the setting of your application"
        ) from None
    if not case.found.exists:
        shown, case.found = case.place.shown, None
        raise Wrong(
            f"there is no file {shown}",
            f"Correct the path in {DATABASE}, or create the file with `clerkmap migrate --create`",
        )
    return case.place.shown


def tables(case: Case) -> str:
    """Check that the tables are those of this version."""
    if case.place is None or case.found is None:
        raise Skipped("needs a database")
    try:
        case.place.check(case.found)
    except ConfigurationError as error:
        told, _, remedy = _without_label(error).partition(": ")
        raise Wrong(told, remedy) from None
    repository = case.place.open(case.found, writes=False)
    case.closing.append(repository.close)
    try:
        is_writable = case.place.check_writable()  # first, because it names the tables
        repository.checkpoint(_PROBE)
    except (ConfigurationError, RepositoryUnavailable) as error:
        told, remedy = _with_grants(error, case.place.to_write)
        raise Wrong(told, remedy) from None
    case.repository = repository
    if not is_writable:
        return "the repository responds; whether it is writable is not checked"
    kept = f", with ids of type {case.found.id_type}" if case.found.id_type else ""
    return f"at schema version {case.found.version}{kept}; they are writable"


def webhooks(case: Case) -> str:
    """Check that the latest changes at Clerk are in the database."""
    if case.repository is None or case.instance is None:
        raise Skipped("needs the tables and the publishable key")
    from .formatting import moment, span

    now = case.clock()
    case.counted = case.repository.counts(case.instance.name)
    told = [count.observed_at for count in case.counted.values()]
    last = max((each for each in told if each is not None), default=None)
    if last is None:
        raise Wrong(
            f"the database has no data from Clerk of {case.instance.name} yet",
            "Add an endpoint under Webhooks on Clerk's dashboard, and copy the existing data with `clerkmap sync`",
        )
    # A record does not have its origin: a webhook, a backfill, or a request for a linker.
    heard = f"newest data from Clerk, by webhook, sync or API: {moment(last, now)}"
    if case.api is None:
        return f"{heard}; the API is needed to find missing data"
    from ..clerk import endpoints
    from ..core.events import Unreadable, records_of
    from ..core.records import FULL

    for row in case.api.send(endpoints.users(order_by="-updated_at", limit=NEWEST)):
        try:
            said = records_of("user", case.instance.name, row, int(now * 1000))[0]
        except Unreadable:
            continue
        stored = case.repository.record("user", said.instance, said.key)
        changed_at = (said.updated_at or 0) / 1000
        is_known = stored is not None and stored.grade >= FULL
        is_newer = stored is not None and (stored.updated_at or 0) >= (said.updated_at or 0)
        if now - changed_at > LATE and not (
            is_known and stored is not None and (stored.is_deleted or is_newer or stored.said() == said.said())
        ):
            raise Wrong(
                f"a user was changed at Clerk {span(now - changed_at)} ago, and the change is not in the database",
                "See the responses of your application on the endpoint's page under Webhooks on Clerk's dashboard; "
                "repair the data with `clerkmap sync`",
            )
    return heard


def counts(case: Case) -> str:
    """Compare the totals with Clerk's."""
    if case.counted is None or case.api is None:
        raise Skipped("needs the tables and a response of the API")
    from ..clerk import endpoints
    from .formatting import many

    users, organizations = case.counted["user"], case.counted["organization"]
    rows = [
        ("user", case.api.send(endpoints.user_count()), users.alive, users.deleted),
        ("organization", case.api.send(endpoints.organizations(limit=1)).total, organizations.alive, 0),
    ]
    if not users.deleted and not organizations.deleted:  # memberships of deleted users stay, and do not count
        theirs = case.api.send(endpoints.memberships(limit=1)).total
        rows.append(("membership", theirs, case.counted["membership"].told, 0))
    # Clerk still has the users that you have erased.
    apart = [
        f"{many(theirs, kind)} at Clerk, and {ours:,} here"
        for kind, theirs, ours, erased in rows
        if not 0 <= theirs - ours <= erased
    ]
    if apart:
        raise Wrong("; ".join(apart), "See the differences with `clerkmap diff`, and repair them with `clerkmap sync`")
    return "as at Clerk: " + ", ".join(many(ours, kind) for kind, _, ours, _ in rows)


def outbox(case: Case) -> str:
    """Check that entries of the outbox are sent."""
    if case.repository is None or case.instance is None:
        raise Skipped("needs the tables and the publishable key")
    from .formatting import span

    outbox_entry = case.repository.outbox(case.instance.name)
    failed = [each.error for each in outbox_entry if each.error is not None]
    if failed:
        raise Wrong(
            f"{len(failed):,} could not be written back, the first because of {failed[0]}",
            "See them with `clerkmap outbox list`; fix the cause, then run `clerkmap outbox retry` and `drain`",
        )
    overdue = case.clock() - outbox_entry[0].due_at.timestamp() if outbox_entry else 0.0
    if overdue > LATE:
        raise Wrong(
            f"{len(outbox_entry):,} wait to be written back, the first for {span(overdue)}: nothing sends them",
            "Run an OutboxWorker in your application, or `clerkmap outbox drain` regularly",
        )
    return f"{len(outbox_entry):,} wait to be written back" if outbox_entry else "no entry waits to be written back"


def _with_grants(error: Exception, remedy: str) -> tuple[str, str]:
    """Return the text of an error, and its remedy: the privileges to grant if it names them, or the one given."""
    told, lacks, privileges = _without_label(error).partition(": GRANT ")
    return told, f"GRANT {privileges}" if lacks else remedy


def _without_label(error: Exception) -> str:
    """Return the text of an error without its label."""
    return str(error).partition(": ")[2] or str(error)


# In order.
CHECKS: dict[str, Check] = {
    "publishable key": publishable_key,
    "secret key": secret_key,
    "webhook secret": webhook_secret,
    "front ends": authorized_parties,
    "API address": api_address,
    "JWT key": jwt_key,
    "keys": keys,
    "API": api,
    "same instance": same_instance,
    "clock": clock,
    "database": database,
    "tables": tables,
    "webhooks": webhooks,
    "counts": counts,
    "outbox": outbox,
}
